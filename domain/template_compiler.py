"""The fast runner: a checked part as straight Python, byte for byte what the sandbox gives.

Only a tree that passed `check` may come here. Names become numbered locals, texts become literals,
everything that needs a bound calls the same functions as the sandbox does; no builtin is reachable.
`tests/domain/test_template_property.py` proves the two runners equal over generated templates.
"""

from __future__ import annotations

from collections.abc import Sequence

import markupsafe
from jinja2 import nodes

from domain.template_conditions import TESTS
from domain.template_expressions import Program, Scope, expression, printed
from domain.template_filters import FILTERS
from domain.template_language import Mode
from domain.template_links import FILTER, link
from domain.template_sandbox import Values, loop_weight
from domain.template_split import Piece, Run, assigned_here
from domain.template_values import (
    ARITHMETIC,
    Budget,
    Missing,
    Value,
    concat,
    element,
    lookup,
    lookup_item,
    make_range,
    print_html,
    print_text,
    steps,
)


def _escape(text: str) -> str:
    return str.__str__(markupsafe.escape(text))


def _fast_escape() -> Value:
    """MarkupSafe's C function, which spares the Markup object (330 -> 30 ns); it is private there."""
    inner = getattr(markupsafe, "_escape_inner", None)
    probe = "<a href=\"x\">'&amp;é'</a>"
    is_usable = inner is not None and inner(probe) == _escape(probe)
    return inner if is_usable else _escape


ESCAPE = _fast_escape()


def _printed_html(value: Value, budget: Budget) -> str:
    kind = type(value)
    if kind is int or kind is float:  # digits need no escaping
        return str(value)
    return str.__str__(print_html(value, budget))


def _namespace(mode: Mode) -> dict[str, Value]:
    """Everything a program can reach: our bounded functions and a few names for types."""
    bounded = [concat, element, lookup, lookup_item, make_range, steps, *ARITHMETIC.values()]
    return {
        "__builtins__": {},
        "escaped": ESCAPE,
        "printed": _printed_html if mode == "html" else print_text,
        "size": len,
        "counted": enumerate,
        "mapping": dict,
        "missing": Missing,
        "text": str,
        **{function.__name__: function for function in bounded},
        **{f"f_{name}": function for name, function in FILTERS[mode].items()},
        f"f_{FILTER}": link,
        **{f"t_{name}": function for name, function in TESTS.items()},
    }


class CompiledRunner:
    """A part run as Python; `emitted` says for each run whether its slot is wanted."""

    def __init__(self, pieces: Sequence[Piece], mode: Mode, emitted: Sequence[bool]) -> None:
        writer = _Writer(Program(mode=mode, namespace=_namespace(mode)))
        source = writer.whole(pieces) + writer.slots(pieces, emitted)
        namespace = writer.program.namespace
        # The source holds nothing of the author's but literals: see template_expressions.
        exec(compile(source, "<template>", "exec"), namespace)  # noqa: S102
        self._whole, self._slots = namespace["whole"], namespace["slots"]
        self.source = source

    def render(self, values: Values, budget: Budget) -> str:
        """The whole part."""
        text: str = self._whole(values.get, budget)
        return text

    def slots(self, values: Values, budget: Budget) -> Sequence[str]:
        """The emitted slots."""
        found: tuple[str, ...] = self._slots(values.get, budget)
        return found


class _Writer:
    """Writes the two functions of a part. `out` is the list under construction in each."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.lines: list[str] = []
        self.pending: list[str] = []
        """Sources of texts not yet added to `out`: they are added together."""

    def whole(self, pieces: Sequence[Piece]) -> str:
        """Source of `whole(get, budget)`: the part as one text."""
        scope = self.start(pieces)
        self.line(1, "out = []")
        for piece in pieces:
            if isinstance(piece, str):
                self.pending.append(repr(piece))
            else:
                self.body(piece.nodes, scope, 1)
        self.flush(1)
        self.line(1, "return ''.join(out)")
        return self.function("whole")

    def slots(self, pieces: Sequence[Piece], emitted: Sequence[bool]) -> str:
        """Source of `slots(get, budget)`: the text of each emitted run, as a tuple."""
        scope = self.start(pieces)
        runs = [piece for piece in pieces if isinstance(piece, Run)]
        results = []
        for number, (run, is_emitted) in enumerate(zip(runs, emitted, strict=True)):
            if is_emitted:
                self.slot(run, scope, f"r{number}")
                results.append(f"r{number}, ")
            elif not run.does_print:
                self.body(run.nodes, scope, 1)
        self.line(1, f"return ({''.join(results)})")
        return self.function("slots")

    def slot(self, run: Run, scope: Scope, result: str) -> None:
        """One emitted run."""
        if run.expression is not None:
            self.line(1, f"{result} = {printed(run.expression, self.program, scope)}")
            return
        self.line(1, "out = []")
        self.body(run.nodes, scope, 1)
        self.flush(1)
        self.line(1, f"{result} = ''.join(out)")

    def start(self, pieces: Sequence[Piece]) -> Scope:
        """Begin a function: the template's own scope, its variables first the context's."""
        self.lines, self.program.context_names = [], {}
        runs = [piece for piece in pieces if isinstance(piece, Run)]
        scope = Scope()
        self.declare(scope, [node for run in runs for node in run.nodes], 1)
        return scope

    def declare(self, scope: Scope, statements: Sequence[nodes.Node], depth: int) -> None:
        """Give the variables the statements set in this scope a local, at first the outer value."""
        for name in sorted(assigned_here(statements) - scope.locals.keys()):
            outer = scope.find(name) or self.program.from_context(name)
            scope.locals[name] = f"v{self.program.number()}"
            self.line(depth, f"{scope.locals[name]} = {outer}")

    def function(self, name: str) -> str:
        """The lines so far as a function, its look-ups in the context before them."""
        lookups = [
            f" {local} = get({context_name!r}, {self.program.missing(context_name)})"
            for context_name, local in self.program.context_names.items()
        ]
        return "\n".join([f"def {name}(get, budget):", *lookups, *self.lines, ""])

    def line(self, depth: int, source: str) -> None:
        self.lines.append(" " * depth + source)

    def flush(self, depth: int) -> None:
        """Add the pending texts to `out`, in one statement."""
        if self.pending:
            self.line(depth, f"out += ({', '.join(self.pending)},)")
            self.pending = []

    def body(self, statements: Sequence[nodes.Node], scope: Scope, depth: int) -> None:
        for statement in statements:
            match statement:
                case nodes.Output():
                    self.output(statement, scope)
                case nodes.If():
                    self.flush(depth)
                    self.branches(statement, scope, depth)
                case nodes.For():
                    self.flush(depth)
                    self.loop(statement, scope, depth)
                case nodes.Assign(target=nodes.Name(name=name)):
                    self.flush(depth)
                    value = expression(statement.node, self.program, scope)
                    self.line(depth, f"{scope.locals[name]} = {value}")

    def block(self, statements: Sequence[nodes.Node], scope: Scope, depth: int) -> None:
        """An indented body, which Python wants to hold something."""
        before = len(self.lines)
        self.body(statements, scope, depth)
        self.flush(depth)
        if len(self.lines) == before:
            self.line(depth, "pass")

    def output(self, node: nodes.Output, scope: Scope) -> None:
        for member in node.nodes:
            if isinstance(member, nodes.TemplateData):
                self.pending.append(repr(member.data))
            else:
                self.pending.append(printed(member, self.program, scope))

    def branches(self, node: nodes.If, scope: Scope, depth: int) -> None:
        word = "if"
        for branch in (node, *node.elif_):
            self.line(depth, f"{word} {expression(branch.test, self.program, scope)}:")
            self.block(branch.body, scope, depth + 1)
            word = "elif"
        if node.else_:
            self.line(depth, "else:")
            self.block(node.else_, scope, depth + 1)

    def loop(self, node: nodes.For, scope: Scope, depth: int) -> None:
        number = self.program.number()
        inside = Scope(parent=scope, loop=number)
        target = self.target(node.target, inside)
        through = expression(node.iter, self.program, scope)
        self.line(depth, f"s{number} = steps({through}, budget, {loop_weight(node)})")
        if node.test is not None:
            self.line(depth, f"k{number} = []")
            self.line(depth, f"for e{number} in s{number}:")
            self.line(depth + 1, f"{target} = e{number}")
            self.line(depth + 1, f"if {expression(node.test, self.program, inside)}:")
            self.line(depth + 2, f"k{number} += (e{number},)")
            self.line(depth, f"s{number} = k{number}")
        self.line(depth, f"n{number} = size(s{number})")
        self.line(depth, f"for i{number}, {target} in counted(s{number}):")
        self.declare(inside, node.body, depth + 1)
        self.block(node.body, inside, depth + 1)
        if node.else_:
            self.line(depth, f"if n{number} == 0:")
            outside = Scope(parent=scope)
            self.declare(outside, node.else_, depth + 1)
            self.block(node.else_, outside, depth + 1)

    def target(self, node: nodes.Node, scope: Scope) -> str:
        """The locals a loop assigns, declared in the scope of its body."""
        names = node.items if isinstance(node, nodes.Tuple) else [node]
        made = ""
        for name in names:
            assert isinstance(name, nodes.Name)  # noqa: S101  # `check` saw to it
            local = scope.locals.setdefault(name.name, f"v{self.program.number()}")
            made += f"{local}, "
        return f"({made})" if isinstance(node, nodes.Tuple) else made[:-2]
