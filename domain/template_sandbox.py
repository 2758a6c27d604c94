"""The reference runner: a part run by Jinja's own immutable sandbox.

The checked tree is rewritten so that everything with a bound goes through `template_values` and
`template_filters`: printing, `~`, range, loops, literals, filters. Nothing else is reachable.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from jinja2 import nodes
from jinja2.runtime import Context, LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

from domain.template_conditions import TESTS
from domain.template_errors import RenderFailed
from domain.template_filters import FILTERS
from domain.template_language import LOOP_VARIABLES, Mode, Part, check
from domain.template_links import FILTER, link
from domain.template_split import Piece, Run, top
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

Values = dict[str, Value]
"""A context: plain values by name."""

_SEPARATOR = "\0carillon\0"
"""Between slots. A source holds no NUL; a value that does changes the count and is found out."""
_BUDGET = "_budget"
_NODE_WORK = 20
_BINARY = (nodes.Add, nodes.Sub, nodes.Mul, nodes.Div, nodes.FloorDiv, nodes.Mod)


class PartRunner(Protocol):
    """One part, ready to be run; raises whatever its expressions raise."""

    def render(self, values: Values, budget: Budget) -> str:
        """The whole part."""

    def slots(self, values: Values, budget: Budget) -> Sequence[str]:
        """The text of each run it was built to emit, in order."""


def loop_weight(node: nodes.For) -> int:
    """Units of work one step of a loop costs; loops inside it are charged by themselves."""
    inside = [*node.body, *([node.test] if node.test is not None else [])]
    members = [member for root in inside for member in (root, *root.find_all(nodes.Node))]
    text = sum(len(member.data) for member in members if isinstance(member, nodes.TemplateData))
    return _NODE_WORK * (len(members) + 1) + text


class _Sandbox(ImmutableSandboxedEnvironment):
    """Jinja's sandbox with items instead of attributes, and nothing callable in reach."""

    intercepted_binops = frozenset(ARITHMETIC)

    def __init__(self, mode: Mode) -> None:
        # Not optimized: Jinja folds constants with errors at compile time that belong to run time.
        super().__init__(
            autoescape=mode == "html", undefined=Missing, cache_size=0, optimized=False
        )
        printer = print_html if mode == "html" else print_text
        self.globals.clear()
        self.tests = dict(TESTS)
        self.filters = dict(FILTERS[mode])
        self.filters |= {"_print": printer, "_concat": concat, "_range": make_range}
        self.filters |= {"_steps": steps, "_element": element, FILTER: link}

    def getattr(self, obj: Value, attribute: str) -> Value:
        if type(obj) is LoopContext and attribute in LOOP_VARIABLES:
            return getattr(obj, attribute)
        return lookup(obj, attribute)

    def getitem(self, obj: Value, argument: Value) -> Value:
        return lookup_item(obj, argument)

    def call_binop(self, context: Context, operator: str, left: Value, right: Value) -> Value:
        return ARITHMETIC[operator](left, right)


_SANDBOXES: dict[Mode, _Sandbox] = {"html": _Sandbox("html"), "text": _Sandbox("text")}


class _Rewriter(NodeTransformer):
    """Puts a filter of ours wherever Jinja's own operation has no bound."""

    def filtered(self, node: nodes.Node, name: str, *args: nodes.Node) -> nodes.Filter:
        return nodes.Filter(node, name, list(args), [], None, None, lineno=node.lineno or 1)

    def budgeted(self, node: nodes.Node, name: str, *args: nodes.Node) -> nodes.Filter:
        return self.filtered(node, name, nodes.Name(_BUDGET, "load", lineno=1), *args)

    def visit_Output(self, node: nodes.Output) -> nodes.Node:  # noqa: N802  # Jinja's names
        node.nodes = [
            member
            if isinstance(member, nodes.TemplateData)
            else self.budgeted(self.visit(member), "_print")
            for member in node.nodes
        ]
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802
        first, *others = [self.visit(member) for member in node.nodes]
        return self.budgeted(first, "_concat", *others)

    def visit_Call(self, node: nodes.Call) -> nodes.Node:  # noqa: N802
        first, *others = [self.visit(member) for member in node.args]
        return self.budgeted(first, "_range", *others)

    def visit_Filter(self, node: nodes.Filter) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        node.args.insert(0, nodes.Name(_BUDGET, "load", lineno=1))
        return node

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:  # noqa: N802
        holder, key = self.visit(node.node), self.visit(node.arg)
        if isinstance(key, nodes.Const) and isinstance(key.value, str):
            return nodes.Getattr(holder, key.value, "load", lineno=node.lineno)
        return nodes.Getitem(holder, key, "load", lineno=node.lineno)

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802
        weight = nodes.Const(loop_weight(node), lineno=node.lineno)
        target = node.target
        self.generic_visit(node)
        node.target = target
        node.iter = self.budgeted(node.iter, "_steps", weight)
        return node

    def visit_List(self, node: nodes.List) -> nodes.Node:  # noqa: N802
        node.items = [self.member(item) for item in node.items]
        return node

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Node:  # noqa: N802
        if node.ctx == "load":
            node.items = [self.member(item) for item in node.items]
        return node

    def visit_Pair(self, node: nodes.Pair) -> nodes.Node:  # noqa: N802
        node.key, node.value = self.member(node.key), self.member(node.value)
        return node

    def member(self, node: nodes.Expr) -> nodes.Expr:
        visited: nodes.Expr = self.visit(node)
        return visited if isinstance(node, nodes.Literal) else self.filtered(visited, "_element")


class SandboxRunner:
    """A part run by the sandbox; `emitted` says for each run of the cut whether its slot is wanted.

    Parses the source anew, because rewriting changes the tree.
    """

    def __init__(
        self,
        source: str,
        part: Part,
        folded: Mapping[int, str],
        cut: Callable[[Sequence[nodes.Node]], list[Piece]],
        emitted: Sequence[bool],
    ) -> None:
        self._sandbox = _SANDBOXES[part.mode]
        tree = _Rewriter().visit(check(source, part=part).tree)
        flat = top(tree.body, folded)
        self._whole = self._compile(flat)
        self._slots = self._compile(self._separated(cut(flat), emitted))
        self._count = sum(emitted)

    def render(self, values: Values, budget: Budget) -> str:
        """The whole part."""
        return self._run(self._whole, values, budget)

    def slots(self, values: Values, budget: Budget) -> Sequence[str]:
        """The emitted slots, from one run of a template that holds them and separators only."""
        found = self._run(self._slots, values, budget).split(_SEPARATOR)
        if len(found) != self._count + 1:
            raise RenderFailed("a value holds NUL, which no e-mail can carry")
        return found[:-1]

    def _separated(self, parts: Sequence[Piece], emitted: Sequence[bool]) -> list[nodes.Node]:
        runs = [piece for piece in parts if isinstance(piece, Run)]
        body: list[nodes.Node] = []
        for run, is_emitted in zip(runs, emitted, strict=True):
            if is_emitted or not run.does_print:
                body += run.nodes
            if is_emitted:
                body.append(nodes.TemplateData(_SEPARATOR, lineno=1))
        return body

    def _compile(self, body: list[nodes.Node]) -> object:
        texts_printed = [
            nodes.Output([node], lineno=1) if isinstance(node, nodes.TemplateData) else node
            for node in body
        ]
        tree = nodes.Template(texts_printed, lineno=1)
        tree.set_environment(self._sandbox)
        return self._sandbox.from_string(tree)

    def _run(self, template: Value, values: Values, budget: Budget) -> str:
        context = Context(self._sandbox, values, None, {})
        context.vars[_BUDGET] = budget
        return "".join(template.root_render_func(context))
