"""Rendering: escaping, headers, bounds, missing variables, and how a template is split."""

from __future__ import annotations

import time
from typing import Any

import jinja2
import pytest

from domain.template_errors import HeaderRefused, MissingVariable, RenderFailed, TemplateRefused
from domain.template_filters import FILTERS
from domain.template_render import (
    MAX_KEYS,
    CompiledTemplate,
    RunnerKind,
    TemplateSource,
    compile_template,
)

Values = dict[str, Any]


@pytest.fixture(params=list(RunnerKind))
def runner(request: pytest.FixtureRequest) -> RunnerKind:
    kind: RunnerKind = request.param
    return kind


def a_template(
    html: str, runner: RunnerKind = RunnerKind.COMPILED, subject: str = "S", text: str = ""
) -> CompiledTemplate:
    return compile_template(TemplateSource(subject=subject, html=html, text=text), runner=runner)


def a_subject(source: str, runner: RunnerKind, context: Values) -> str:
    return a_template("x", runner, subject=source).render(context).subject


def test_html_is_escaped_and_subject_and_text_are_not(runner: RunnerKind) -> None:
    template = a_template("<b>{{ x }}</b>", runner, subject="{{ x }}", text="{{ x }}")

    rendered = template.render({"x": "<i>'\"&"})

    assert rendered.html == "<b>&lt;i&gt;&#39;&#34;&amp;</b>"
    assert rendered.subject == rendered.text == "<i>'\"&"


@pytest.mark.parametrize(
    ("expression", "printed"),
    [
        ("x|e", "&lt;"),
        ("x|e|e", "&lt;"),
        ("x ~ '<'", "&lt;&lt;"),
        ("(x|e) ~ x", "&lt;&lt;"),
        ("[x|e, x]|join('>')", "&lt;&gt;&lt;"),
        ("x|replace('<', '<>')", "&lt;&gt;"),
        ("x|e|replace('&', '<')", "&lt;lt;"),
        ("x|default('')|upper|trim", "&lt;"),
        ("'<'", "&lt;"),
    ],
)
def test_no_expression_gets_round_the_escaping(
    expression: str, printed: str, runner: RunnerKind
) -> None:
    assert a_template(f"{{{{ {expression} }}}}", runner).render({"x": "<"}).html == printed


FILTER_CASES = [
    ("upper", "straße"),
    ("lower", "ÀB"),
    ("title", "o'neil van-der (berg)"),
    ("title", "ﬁnn"),
    ("title", "éMILE"),
    ("capitalize", "ANN"),
    ("trim", "  a "),
    ("trim('a')", "aba"),
    ("default('x')", ""),
    ("default('x', true)", ""),
    ("join(', ')", ["a", 1, 2.5]),
    ("join('-', attribute='k')", [{"k": 1}, {"k": "<"}]),
    ("length", [1, 2]),
    ("first", "Ann"),
    ("last", [1, 2]),
    ("round", 2.567),
    ("round(1)", 2.567),
    ("round(1, 'floor')", 2.567),
    ("round(method='ceil')", 2.1),
    ("int", "42.9"),
    ("int(7)", "no"),
    ("float", "1.5"),
    ("float(2)", "no"),
    ("abs", -3),
    ("replace('a', 'b', 1)", "aaa"),
    ("replace('', '-')", "ab"),
    ("truncate(9)", "foo bar baz qux"),
    ("truncate(9, true)", "foo bar baz qux"),
    ("truncate(11, false, '…', 0)", "foo bar baz qux"),
    ("wordcount", "a b, c-d"),
    ("urlencode", "a/b c&é"),
    ("sum", [1, 2.5]),
    ("sum(attribute='k', start=2)", [{"k": 1}]),
    ("min", [3, 1]),
    ("max(attribute='k')|list|join", [{"k": 1}, {"k": 2, "b": 1}]),
    ("sort|join", ["b", "A", "c"]),
    ("sort(true, true)|join", ["b", "A", "c"]),
    ("sort(attribute='k,n')|map(attribute='n')|join", [{"k": 1, "n": 2}, {"k": 1, "n": 1}]),
    ("unique|join", ["a", "A", "b"]),
    ("map(attribute='k.0')|join", [{"k": [1]}]),
    ("map(attribute='k', default='-')|join", [{}]),
    ("selectattr('k')|map(attribute='n')|join", [{"k": 0, "n": 1}, {"k": 1, "n": 2}]),
    ("rejectattr('k', 'gt', 1)|map(attribute='k')|join", [{"k": 0}, {"k": 2}]),
    ("items|join|length", {}),
    ("reverse", "abc"),
    ("reverse|join", [1, 2]),
    ("string", 3),
    ("list|join", {"a": 1}),
    ("e", "<"),
]


@pytest.mark.parametrize(("use", "value"), FILTER_CASES)
def test_filters_give_what_jinja_gives(use: str, value: Any, runner: RunnerKind) -> None:
    stock = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    source = f"{{{{ x|{use} }}}}"

    printed = a_template(source, runner).render({"x": value}).html

    assert printed == stock.from_string(source).render({"x": value})


def test_every_filter_has_a_case() -> None:
    used = " ".join(use for use, _ in FILTER_CASES)

    aliases = {"d", "escape", "count"}
    assert [name for name in FILTERS["html"] if name not in used and name not in aliases] == []


@pytest.mark.parametrize("character", ["\r", "\n", "\r\nBcc: x@example.com", "\0", "\t", "\x1b"])
def test_a_control_character_in_the_subject_is_refused(character: str, runner: RunnerKind) -> None:
    with pytest.raises(HeaderRefused):
        a_subject("Hi {{ x }}!", runner, {"x": f"a{character}b"})
    with pytest.raises(HeaderRefused):
        a_template("x", runner, subject="Hi {{ x }}!").slots({"x": f"a{character}b"})


@pytest.mark.parametrize("code", [0x7F, 0x85, 0x9F, 0x2028, 0x2029])
def test_a_line_separator_in_the_subject_is_refused(code: int, runner: RunnerKind) -> None:
    with pytest.raises(HeaderRefused):
        a_subject("Hi {{ x }}!", runner, {"x": chr(code)})


def test_a_subject_may_hold_any_other_character(runner: RunnerKind) -> None:
    name = "Zoë\u00a0\u200d👩‍🚀 \u202eשלום"

    assert a_subject("  Hi {{ x }}\n", runner, {"x": name}) == f"Hi {name}"


def test_whitespace_around_the_subject_is_trimmed(runner: RunnerKind) -> None:
    template = a_template("x", runner, subject=" {{ x }} \n\n")

    assert template.render({"x": " a "}).subject == "a"
    assert template.slots({"x": " a "}) == ("a",)


def test_a_static_subject_of_two_lines_is_refused() -> None:
    with pytest.raises(TemplateRefused) as refusal:
        a_template("x", subject="one\ntwo")

    assert str(refusal.value) == (
        "subject.txt: the subject holds a line break or another control character"
    )


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("{{ city }}", "city"),
        ("{{ city|upper }}", "city"),
        ("{% if city %}{% endif %}", "city"),
        ("{{ city == 'x' }}", "city"),
        ("{{ x.city }}", "city"),
        ("{{ x['city'] }}", "city"),
        ("{% for y in city %}{% endfor %}", "city"),
        ("{{ 1 + city }}", "city"),
        ("{{ 'a' ~ city }}", "city"),
        ("{% set y = city %}{{ y }}", "city"),
        ("{{ [x]|map(attribute='city')|join }}", "city"),
    ],
)
def test_a_missing_variable_is_named(source: str, name: str, runner: RunnerKind) -> None:
    template = a_template(source.replace("[x]", "xs"), runner)
    for action in (template.render, template.slots):
        with pytest.raises(MissingVariable) as error:
            action({"x": {}, "xs": [{}]})

        assert error.value.name == name


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("{{ none }}", "none cannot be used as text"),
        ("{{ items }}", "a list cannot be used as text"),
        ("{{ info|upper }}", "a mapping cannot be used as text"),
        ("{{ 'a' + 'b' }}", "text cannot be used as a number"),
        ("{{ 'a' * 3 }}", "text cannot be used as a number"),
        ("{{ items * 3 }}", "a list cannot be used as a number"),
        ("{{ '%d' % 3 }}", "text cannot be used as a number"),
        ("{{ 1 / 0 }}", "ZeroDivisionError: division by zero"),
        ("{{ 1 < 'a' }}", "TypeError: '<' not supported between instances of 'int' and 'str'"),
        ("{% for c in 'abc' %}{% endfor %}", "text cannot be used as what a loop goes through"),
        ("{{ []|first }}", "an empty list has no member"),
        ("{{ items[7] }}", "there is no such item"),
        ("{% for a, b in items %}{% endfor %}", "TypeError: cannot unpack non-iterable int object"),
        ("{{ [items] }}", "a list cannot be used as a member of a list or mapping literal"),
        ("{{ range(1001)|length }}", "range gives more than 1000 numbers"),
        ("{{ 2.5|round(99) }}", "round takes a precision between -15 and 15"),
        ("{{ 'abc'|truncate(1) }}", "truncate takes a length that is at least its end's"),
        ("{{ 'x'|int(none) }}", "none cannot be used as text"),
        (
            "{{ items|selectattr('k', 'sameas')|length }}",
            "selectattr and rejectattr take a test of the template language",
        ),
    ],
)
def test_all_else_that_goes_wrong_has_a_reason(
    source: str, reason: str, runner: RunnerKind
) -> None:
    with pytest.raises(RenderFailed) as error:
        a_template(source, runner).render({"items": [1, 2], "info": {}})

    assert error.value.reason == reason


def test_python_attributes_are_out_of_reach(runner: RunnerKind) -> None:
    for path in ("upper", "format", "__class__", "keys", "pop"):
        with pytest.raises((MissingVariable, TemplateRefused)):
            a_template(f"{{{{ x.{path} }}}}", runner).render({"x": "text"})
        with pytest.raises((MissingVariable, TemplateRefused)):
            a_template(f"{{{{ x.{path} }}}}", runner).render({"x": {}})
    with pytest.raises(RenderFailed):
        a_template("{{ x['__cl' ~ 'ass__'] }}", runner).render({"x": {"__class__": 1}})


BOMBS = {
    "numbers": "{% set a = 999999999 %}" + "{% set a = a * a %}" * 40 + "{{ a }}",
    "concatenation": "{% set a = 'xxxxxxxx' %}" + "{% set a = a ~ a %}" * 40 + "{{ a }}",
    "lists": "{% set a = [1] %}" + "{% set a = [a, a] %}" * 40 + "{{ a|length }}",
    "join": "{% set a = 'xxxxxxxx' %}" + "{% set a = [a, a]|join(a) %}" * 40,
    "replace": "{% set a = 'xxxxxxxx' %}" + "{% set a = a|replace('x', a) %}" * 9 + "{{ a }}",
    "loops": "{% for a in range(999) %}" * 6 + "x" + "{% endfor %}" * 6,
    "empty loops": "{% for a in range(999) %}" * 6 + "{% endfor %}" * 6,
    "sorting": "{% for a in range(999) %}{{ big|sort|length }}{% endfor %}",
    "long texts": "{% for a in range(999) %}{{ long|title }}{% endfor %}",
    "printing": "{% for a in range(999) %}{{ long }}{% endfor %}",
    "static text": "{% for a in range(999) %}{% for b in range(99) %}"
    + "x" * 999
    + "{% endfor %}" * 2,
    "digits": "{{ huge }}",
    "rounding": "{{ 1|round(10000000) }}",
    "wide": "{{ '%1000000000d' % 1 }}",
    "parity": "{{ '%1000000000d' is even }}",
    "escaping": "{% for a in range(40) %}{{ quotes }}{% endfor %}",
}


@pytest.mark.parametrize("name", list(BOMBS))
def test_bombs_end_quickly(name: str, runner: RunnerKind) -> None:
    template = a_template(BOMBS[name], runner)
    context = {
        "big": list(range(999)),
        "long": "ab " * 30_000,
        "huge": 10**5000,
        "quotes": "'" * 9999,
    }
    for action in (template.render, template.slots):
        started = time.process_time()

        with pytest.raises(RenderFailed):
            action(context)

        assert time.process_time() - started < 2


def test_values_must_be_text_a_mail_can_carry(runner: RunnerKind) -> None:
    template = a_template("<p>{{ x }}</p>{{ y }}", runner)
    for action in (template.render, template.slots):
        with pytest.raises(RenderFailed, match="half a surrogate pair"):
            action({"x": "\ud800", "y": ""})
        with pytest.raises(RenderFailed, match="NUL"):
            action({"x": "a\0carillon\0b", "y": ""})


def test_a_context_is_never_changed(runner: RunnerKind) -> None:
    context = {"x": [3, 1], "d": {"a": 1}}
    source = "{% set x = x|sort %}{% set y = x|reverse %}{% for z in d|items %}{% endfor %}"

    a_template(source, runner).render(context)

    assert context == {"x": [3, 1], "d": {"a": 1}}


def test_equal_simple_slots_share_a_key_and_escaping_parts_them() -> None:
    template = a_template("{{ a }}-{{ a }}-{{ a|upper }}", text="{{ a }}+{{ a }}")

    skeleton, slots = template.skeleton(), template.slots({"a": "<"})

    zero, one, two = skeleton.keys
    assert (skeleton.html, skeleton.text) == (f"{zero}-{zero}-{one}", f"{two}+{two}")
    assert slots == ("&lt;", "&lt;", "<")


def test_slots_that_depend_on_set_do_not_share_a_key() -> None:
    template = a_template("{{ a }}-{% set a = a ~ 'x' %}{{ a }}+{{ a }}")

    assert template.slots({"a": "1"}) == ("1", "1x", "1x")


def test_set_and_silent_statements_make_no_slot() -> None:
    template = a_template("a{% set x = 1 %}b{# c #}d", subject="Static\n")

    skeleton = template.skeleton()

    assert (skeleton.subject, skeleton.html, skeleton.keys) == ("Static", "abd", ())
    assert template.slots({}) == ()


def test_a_silent_statement_that_fails_fails_in_both_forms(runner: RunnerKind) -> None:
    template = a_template("x", runner, subject="S{% set y = -name %}", text="t{% set y = -name %}")
    for action in (template.render, template.slots):
        action({"name": 1})
        with pytest.raises(RenderFailed):
            action({"name": "text"})


def test_a_large_template_is_ready_within_seconds(runner: RunnerKind) -> None:
    html = "".join(f"<p>{{{{ a{number} }}}}</p>" for number in range(3_000))
    started = time.process_time()

    a_template(html, runner)

    assert time.process_time() - started < 5


def test_a_part_of_too_many_slots_becomes_one_slot(runner: RunnerKind) -> None:
    html = "".join(f"<i>{{{{ x + {number} }}}}</i>" for number in range(MAX_KEYS + 1))
    template = a_template(html, runner)

    assert len(template.skeleton().keys) == 1
    assert template.slots({"x": 1}) == (template.render({"x": 1}).html,)


def test_keys_are_not_in_the_template_and_values_with_them_fail() -> None:
    source = TemplateSource(subject="S", html="<p>{{ x }}</p>")
    template = compile_template(source)
    mark = template.skeleton().keys[0].split(".")[0]

    with pytest.raises(RenderFailed, match="merge keys"):
        template.slots({"x": f"a{mark}"})

    assert mark[:2] == "~c" and mark not in source.html
    assert compile_template(source).skeleton() == template.skeleton()


def test_constants_are_rendered_once_into_the_skeleton(runner: RunnerKind) -> None:
    html = "{% for b in books %}<i>{{ b }}</i>{% endfor %}{{ shop }}{{ name }}{% set q = 1 %}"
    source = TemplateSource(subject="{{ shop }}", html=html)
    constants = {"books": ["<", "y"], "shop": "Q&A"}

    template = compile_template(source, constants=constants, runner=runner)

    skeleton = template.skeleton()
    assert skeleton.subject == "Q&A"
    assert skeleton.html == f"<i>&lt;</i><i>y</i>Q&amp;A{skeleton.keys[0]}"
    assert template.slots({**constants, "name": "Z"}) == ("Z",)


def test_a_message_longer_than_a_megabyte_fails_in_both_forms(runner: RunnerKind) -> None:
    template = a_template("{{ x }}-{{ x }}-{{ x }}-{{ x }}", runner)
    for action in (template.render, template.slots):
        action({"x": "y" * 240_000})
        with pytest.raises(RenderFailed, match="longer than 1000000"):
            action({"x": "y" * 260_000})


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        (TemplateSource(subject="S", html=" \n"), "a template needs body.html or body.txt"),
        (TemplateSource(subject=" \n", text="x"), "subject.txt: it is empty"),
    ],
)
def test_a_template_has_a_subject_and_a_body(source: TemplateSource, sentence: str) -> None:
    with pytest.raises(TemplateRefused) as refusal:
        compile_template(source)

    assert str(refusal.value) == sentence
