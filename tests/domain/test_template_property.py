"""The two runners, the split, the folding and stock Jinja2 agree on generated templates."""

from __future__ import annotations

import contextlib
import functools
from html.parser import HTMLParser
from typing import Any

import jinja2
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.template_errors import TemplateError, TemplateRefused
from domain.template_render import (
    CompiledTemplate,
    Rendered,
    RunnerKind,
    TemplateSource,
    compile_template,
)

TEXTS = ["Ann", "", "<b>&'\"", "Zoë\u2028", "=1+1", "{{ name }}", "%s{0}", "\r\nBcc: x", "~c12.0~"]
TEXTS += ["javascript:x", " Java\tScript:x", "https://x.org/?a:b", "data:,x", "mailto:"]
TEXTS += ["x" * 300, "\u05e9\u05dc\u05d5\u05dd 😀", "a b  c", "12", "-3.7", "ß", "\ud800"]
NAMES = {
    "text": ["name", "city", "info.k", "u|default('U')", "v|default(name)"],
    "number": ["n", "n", "1", "2.5", "items|length", "u|default(0)", "(loop.index)"],
    "list": ["items", "range(3)", "[n, 1, name]", "[]", "(1, 2)", "items|reverse", "range(n)"],
    "any": ["name", "n", "items", "info", "u", "v", "true", "none", "'<'", "{'k': name}", "0"],
}
SIMPLE = ["upper", "lower", "title", "capitalize", "trim", "string", "truncate(5)", "e", "e|upper"]
SIMPLE += ["default('?')", "default('<i>', true)", "replace('a', '<')", "urlencode", "d(city)"]
SIMPLE += ["e|replace('&', '<')", "truncate(length=9, killwords=true)", "reverse", "trim('a')"]
FILTERS = {
    "text": SIMPLE,
    "number": ["abs", "round", "round(1, 'floor')", "int", "float"],
    "list": ["list", "reverse", "sort", "unique", "map(attribute='k')", "selectattr('k')"],
    "any": ["first", "last", "length", "wordcount", "int", "float", "items", "sum", "min", "max"],
}
FROM_LIST = ["join", "join('<')", "length", "map(attribute='k')|join('&')", "first|string", "count"]
FROM_LIST += ["rejectattr('k', 'eq', 1)|length", "sort(attribute='k', reverse=true)|length"]
FROM_LIST += ["map(attribute='k', default=1)|sum", "max", "unique(attribute='k')|length"]
TESTS = ["defined", "undefined", "none", "number", "string", "even", "odd", "divisibleby(2)"]
TESTS += ["in 'abc'", "mapping", "eq(1)", "not none", "boolean", "in items"]
COMPARISONS = ["and", "or", "==", "!=", "<", ">="]
LOOP = ["loop.index", "loop.index0", "loop.first", "loop.last", "loop.length", "loop.revindex"]
STATIC = ["", " ", "<p>", "x&y", "\n", "~", "'\"{}%"]
STATIC += ['<a href="', "<img src='", '">', "<a title=x href="]
OVER = ["items", "range(3)", "[n, 1]", "info", "items|reverse", "range(n)", "[]", "items|unique"]

texts = st.sampled_from(TEXTS)
scalars = st.one_of(texts, st.sampled_from([None, True, 0, 1, 7, -2.5, 10**17, 10**19]))
mappings = st.dictionaries(st.sampled_from(["k", "name", "_x"]), scalars, max_size=2)
hostile = st.one_of(scalars, mappings, st.lists(st.one_of(scalars, mappings), max_size=3))
rows = st.fixed_dictionaries({"k": st.sampled_from(["", "<", "b", "É"])})
ordinary = st.fixed_dictionaries(
    {"name": texts, "city": texts, "n": st.integers(0, 4), "items": st.lists(rows, max_size=3)}
    | {"info": rows},
    optional={"u": texts, "v": scalars},
)
KINDS = st.sampled_from(["text", "text", "number"])
contexts = st.one_of(
    *[ordinary] * 4,
    st.dictionaries(st.sampled_from(["name", "n", "items", "info", "u", "v"]), hostile, min_size=3),
)


@st.composite
def expressions(draw: st.DrawFn, depth: int, kind: str = "text", loops: int = 0) -> str:
    """Source of an expression of the language; mostly one that works, with a `kind` of value."""
    if draw(st.integers(0, 40)) == 0:
        kind = "any"
    shapes = ["name", "name"] + (["filter", "cond", "made"] if depth else [])
    shape = draw(st.sampled_from(shapes))
    if loops and kind != "list" and draw(st.integers(0, 5)) == 0:
        return draw(st.sampled_from(LOOP))
    if shape == "name":
        return draw(st.sampled_from(NAMES[kind])).replace("(loop.index)", "3")
    inner = expressions(depth=depth - 1, kind=kind, loops=loops)
    if shape == "filter":
        return f"({draw(inner)})|{draw(st.sampled_from(FILTERS[kind]))}"
    if shape == "cond":
        test = draw(conditions(depth=depth - 1, loops=loops))
        return f"({draw(inner)} if {test} else {draw(inner)})"
    return draw(made(depth=depth - 1, kind=kind, loops=loops))


@st.composite
def made(draw: st.DrawFn, depth: int, kind: str, loops: int) -> str:
    """Source of an expression that makes a value of others."""
    one, two = (draw(expressions(depth=depth, kind=kind, loops=loops)) for _ in range(2))
    if kind == "list":
        return f"[{one}|length, n, {two}|join]"
    if kind == "number":
        sign = draw(st.sampled_from(["+", "-", "*", "/", "//", "%"]))
        return f"(({one}) {sign} ({two}))" if draw(st.booleans()) else f"(-({one}))"
    if kind == "any":
        key = draw(st.sampled_from(["k", "name", "upper", "index"]))
        return draw(st.sampled_from([f"({one}).{key}", f"({one})[{two}]", f"(not {one})"]))
    many = draw(expressions(depth=depth, kind="list", loops=loops))
    joined = f"(({many})|{draw(st.sampled_from(FROM_LIST))})"
    return draw(st.sampled_from([f"(({one}) ~ ({two}))", joined]))


@st.composite
def conditions(draw: st.DrawFn, depth: int, loops: int = 0) -> str:
    """Source of an expression that is true or false."""
    kind = draw(st.sampled_from(["text", "number", "list", "any"]))
    one = draw(expressions(depth=depth, kind=kind, loops=loops))
    if draw(st.booleans()):
        return f"(({one}) is {draw(st.sampled_from(TESTS))})"
    two = draw(expressions(depth=depth, kind=kind, loops=loops))
    if kind == "text" and draw(st.booleans()):
        return f"({one}) {draw(st.sampled_from(['in', 'not in']))} ({two})"
    return f"(({one}) {draw(st.sampled_from(COMPARISONS))} ({two}))"


@st.composite
def bodies(draw: st.DrawFn, depth: int, loops: int = 0) -> str:
    """Source of a few statements."""
    written = ""
    for _ in range(draw(st.integers(1, 4))):
        written += draw(st.sampled_from(STATIC))
        kind = draw(st.sampled_from(["out", "out", "out", "set", "if", "for"]))
        value = draw(expressions(depth=2, kind=draw(KINDS), loops=loops))
        if kind == "set":
            written += f"{{% set {draw(st.sampled_from(['u', 'v', 'name']))} = {value} %}}"
        elif kind == "out" or not depth:
            written += f"{{{{ {value} }}}}"
        elif kind == "if":
            body = bodies(depth=depth - 1, loops=loops)
            other = draw(st.sampled_from(["", "{% else %}", "{% elif n %}"]))
            test = draw(conditions(depth=1, loops=loops))
            written += (
                f"{{% if {test} %}}{draw(body)}{other}{draw(body) if other else ''}{{% endif %}}"
            )
        else:
            written += draw(for_loops(depth=depth, loops=loops))
    return written + draw(st.sampled_from(STATIC))


@st.composite
def for_loops(draw: st.DrawFn, depth: int, loops: int) -> str:
    """Source of a loop."""
    target = draw(st.sampled_from(["v", "name", "w", "u, v"]))
    over = draw(st.sampled_from(OVER)) + ("|items" if "," in target else "")
    test = draw(st.sampled_from(["", "", f" if {draw(conditions(depth=1))}"]))
    body = draw(bodies(depth=depth - 1, loops=loops + 1))
    other = draw(st.sampled_from(["", f"{{% else %}}{draw(bodies(depth=0, loops=loops))}"]))
    return f"{{% for {target} in {over}{test} %}}{body}{other}{{% endfor %}}"


sources = st.builds(
    TemplateSource,
    subject=expressions(depth=1).map(lambda value: f" S {{{{ {value} }}}}\n"),
    html=bodies(depth=2),
    text=bodies(depth=1),
)
slow = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))


def outcome(action: Any, context: dict[str, Any]) -> Any:
    """What an action gives, or the error it raises."""
    try:
        return action(context)
    except TemplateError as error:
        return type(error), str(error)


def merged(template: CompiledTemplate, context: dict[str, Any]) -> Rendered:
    """The message as a provider makes it of skeleton and slots."""
    skeleton, slots = template.skeleton(), template.slots(context)
    assert len(slots) == len(skeleton.keys)
    texts = [skeleton.subject, skeleton.html, skeleton.text]
    for key, slot in zip(skeleton.keys, slots, strict=True):
        assert type(slot) is str
        texts = [text.replace(key, slot) for text in texts]
    return Rendered(subject=texts[0], html=texts[1], text=texts[2])


def compiled(source: TemplateSource, **options: Any) -> CompiledTemplate | None:
    """The template, or None for a source outside the language (set after a loop that reads it)."""
    try:
        return compile_template(source, **options)
    except TemplateRefused as error:
        assert "is set after a loop" in str(error) or "subject holds a line break" in str(error)
        return None


@slow
@given(sources, contexts)
def test_compiled_python_and_the_sandbox_give_the_same(
    source: TemplateSource, context: dict[str, Any]
) -> None:
    if (fast := compiled(source)) is None:
        return
    reference = compile_template(source, runner=RunnerKind.SANDBOX)

    expected = outcome(reference.render, context)

    assert outcome(fast.render, context) == expected
    assert fast.skeleton() == reference.skeleton()
    assert outcome(fast.slots, context) == outcome(reference.slots, context)


@slow
@given(sources, contexts)
def test_a_skeleton_with_its_slots_is_the_message(
    source: TemplateSource, context: dict[str, Any]
) -> None:
    for kind in RunnerKind:
        if (template := compiled(source, runner=kind)) is None:
            return

        expected = outcome(template.render, context)

        assert outcome(lambda values, made=template: merged(made, values), context) == expected


@slow
@given(sources, contexts, st.sets(st.sampled_from(["name", "n", "items", "city"])))
def test_folding_constants_changes_no_message(
    source: TemplateSource, context: dict[str, Any], folded: set[str]
) -> None:
    if (template := compiled(source)) is None:
        return
    constants = {name: context[name] for name in folded & context.keys()}
    if (with_constants := compiled(source, constants=constants)) is None:
        return

    expected = outcome(template.render, context)

    assert outcome(with_constants.render, context) == expected
    assert outcome(lambda values: merged(with_constants, values), context) == expected


class _Links(HTMLParser):
    """Collects what links lead to, as a browser would read it."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value or "" for name, value in attrs if name in ("href", "src")]


@slow
@given(sources, contexts)
def test_threat_4_no_value_begins_a_link_that_runs_something(
    source: TemplateSource, context: dict[str, Any]
) -> None:
    if (template := compiled(source)) is None:
        return
    rendered = outcome(template.render, context)
    if not isinstance(rendered, Rendered):
        return

    links = _Links()
    links.feed(rendered.html)
    links.close()

    for found in links.found:
        seen = "".join(c for c in found.lower() if c.isprintable() and c != " ")
        assert not seen.startswith(("javascript:", "data:", "vbscript:")), found


def stock_jinja(does_escape: bool) -> jinja2.Environment:
    """Jinja2 as it comes, but with lists where its filters give iterators that can be used once."""
    stock = jinja2.Environment(autoescape=does_escape, undefined=jinja2.StrictUndefined)
    for name in ("items", "map", "rejectattr", "reverse", "selectattr", "unique"):
        lazy = stock.filters[name]

        @functools.wraps(lazy)
        def eager(*args: Any, lazy: Any = lazy, **kwargs: Any) -> Any:
            found = lazy(*args, **kwargs)
            return found if isinstance(found, str) else list(found)

        stock.filters[name] = eager
    return stock


STOCK = {"html": stock_jinja(True), "text": stock_jinja(False)}


@slow
@given(bodies(depth=2), contexts)
def test_what_we_render_stock_jinja_renders_the_same(body: str, context: dict[str, Any]) -> None:
    source = TemplateSource(subject="S", html=body, text=body.replace("|e", "|string"))
    if (template := compiled(source)) is None:
        return

    ours = outcome(template.render, context)

    if isinstance(ours, Rendered):
        for part, text, mode in (
            (source.html, ours.html, "html"),
            (source.text, ours.text, "text"),
        ):
            # Our text filters take numbers too; Jinja's truncate does not.
            with contextlib.suppress(TypeError):
                assert STOCK[mode].from_string(part).render(context) == text
