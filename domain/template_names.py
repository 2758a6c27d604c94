"""Which variables a template reads, and which of them it cannot do without."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from jinja2 import nodes

_NONE: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """What a template reads from its context."""

    used: frozenset[str]
    required: frozenset[str]
    set_too_late: tuple[str, int] | None
    """A variable that is set after a loop that reads it, and the line: Jinja and sense disagree."""


class _Known(NamedTuple):
    """What is certain at a place of the template."""

    bound: frozenset[str] = _NONE
    """Set by the template itself."""
    safe: frozenset[str] = _NONE
    """Proven to be there: bound, or guarded by `is defined`."""

    def binding(self, *names: str) -> _Known:
        return _Known(self.bound | set(names), self.safe | set(names))

    def proving(self, names: frozenset[str]) -> _Known:
        return _Known(self.bound, self.safe | names)


def read_names(tree: nodes.Template) -> Names:
    """The names of a tree that is within the language."""
    reader = _Reader()
    reader.body(tree.body, _Known())
    return Names(
        used=frozenset(reader.used),
        required=frozenset(reader.required),
        set_too_late=reader.set_too_late,
    )


def names_in(node: nodes.Node) -> frozenset[str]:
    """Every name the node reads from outside it."""
    reader = _Reader()
    reader.node(node, _Known())
    return frozenset(reader.used)


def proven(test: nodes.Node, truth: bool) -> frozenset[str]:
    """The names that are certainly there when the test came out as `truth`."""
    match test:
        case nodes.Test(node=nodes.Name(name=name), name=kind):
            return frozenset({name}) if kind == ("defined" if truth else "undefined") else _NONE
        case nodes.Filter(node=nodes.Name(name=name), name="default" | "d") if truth:
            return frozenset({name}) if _is_falsy(test.args) and not test.kwargs else _NONE
        case nodes.Not(node=inner):
            return proven(inner, not truth)
        case nodes.And(left=left, right=right) | nodes.Or(left=left, right=right):
            both = proven(left, truth), proven(right, truth)
            does_hold_both = truth is isinstance(test, nodes.And)
            return both[0] | both[1] if does_hold_both else both[0] & both[1]
        case _:
            return _NONE


def _is_falsy(arguments: Sequence[nodes.Node]) -> bool:
    """Whether a default, given so, is surely false: `default('')`, so what is true is no default."""
    return not arguments or (isinstance(arguments[0], nodes.Const) and not arguments[0].value)


class _Reader:
    def __init__(self) -> None:
        self.used: set[str] = set()
        self.required: set[str] = set()
        self.set_too_late: tuple[str, int] | None = None
        self.read_by_loops: list[set[str]] = [set()]
        """For each scope around the place: names that loops inside it have read."""

    def body(self, statements: Sequence[nodes.Node], known: _Known) -> _Known:
        for statement in statements:
            known = self.node(statement, known)
        return known

    def node(self, node: nodes.Node, known: _Known) -> _Known:
        """Read one node; what is known after it."""
        match node:
            case nodes.If():
                return self.branches(node, known)
            case nodes.For():
                self.loop(node, known)
            case nodes.Assign(target=nodes.Name(name=name)):
                self.node(node.node, known)
                if name in self.read_by_loops[-1] and name not in known.bound:
                    self.set_too_late = self.set_too_late or (name, node.lineno)
                return known.binding(name)
            case _:
                self.expression(node, known)
        return known

    def expression(self, node: nodes.Node, known: _Known) -> None:
        match node:
            case nodes.Name(name=name, ctx="load"):
                self.read(name, known, is_guarded=False)
            case nodes.Filter(node=nodes.Name(name=name), name="default" | "d"):
                self.read(name, known, is_guarded=True)
                self.each([*node.args, *node.kwargs], known)
            case nodes.Test(node=nodes.Name(name=name), name="defined" | "undefined"):
                self.read(name, known, is_guarded=True)
            case nodes.CondExpr(test=test, expr1=yes, expr2=no):
                self.node(test, known)
                self.node(yes, known.proving(proven(test, True)))
                self.each([no] if no is not None else [], known.proving(proven(test, False)))
            case nodes.And(left=left, right=right) | nodes.Or(left=left, right=right):
                self.node(left, known)
                self.node(right, known.proving(proven(left, isinstance(node, nodes.And))))
            case nodes.Getattr(node=nodes.Name(name="loop")):
                pass
            case nodes.Call():
                self.each(node.args, known)
            case _:
                self.each(list(node.iter_child_nodes()), known)

    def each(self, members: Sequence[nodes.Node], known: _Known) -> None:
        for member in members:
            self.node(member, known)

    def read(self, name: str, known: _Known, *, is_guarded: bool) -> None:
        if name in known.bound:
            return
        self.used.add(name)
        for scope in self.read_by_loops[:-1]:
            scope.add(name)
        if not is_guarded and name not in known.safe:
            self.required.add(name)

    def branches(self, node: nodes.If, known: _Known) -> _Known:
        """An if with its elifs; after it is known what every branch knows."""
        ends = []
        for branch in (node, *node.elif_):
            self.node(branch.test, known)
            ends.append(self.body(branch.body, known.proving(proven(branch.test, True))))
            known = known.proving(proven(branch.test, False))
        ends.append(self.body(node.else_, known))
        return _Known(
            frozenset.intersection(*(end.bound for end in ends)),
            frozenset.intersection(*(end.safe for end in ends)),
        )

    def loop(self, node: nodes.For, known: _Known) -> None:
        self.node(node.iter, known)
        targets = [name.name for name in node.target.find_all(nodes.Name)]
        if isinstance(node.target, nodes.Name):
            targets = [node.target.name]
        self.read_by_loops.append(set())
        inside = known.binding(*targets)
        if node.test is not None:
            self.node(node.test, inside)
            inside = inside.proving(proven(node.test, True))
        self.body(node.body, inside)
        self.read_by_loops[-1] = set()
        self.body(node.else_, known)
        self.read_by_loops.pop()
