"""Cuts a part into what all its readers share and what is each reader's own.

Text at the top of the tree is shared; each maximal run of other nodes between two such texts is a
slot. A run that prints nothing (`set`) makes no slot, but runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from jinja2 import nodes
from jinja2.nodes import Node

from domain.template_language import Mode
from domain.template_names import names_in


@dataclass(frozen=True, slots=True)
class Run:
    """Neighbouring nodes at the top of a tree, none of them plain text."""

    nodes: list[Node] = field(default_factory=list)

    @property
    def does_print(self) -> bool:
        """Whether anything but `set` is in it."""
        return any(not isinstance(node, nodes.Assign) for node in self.nodes)

    @property
    def expression(self) -> Node | None:
        """The one expression it prints, if that is all it does."""
        if len(self.nodes) == 1 and isinstance(self.nodes[0], nodes.Output):
            return self.nodes[0].nodes[0]
        return None


Piece: TypeAlias = str | Run


def top(statements: Sequence[nodes.Node], folded: Mapping[int, str]) -> list[nodes.Node]:
    """The top of a tree, outputs taken apart; `folded` are texts that stand for nodes by position."""
    flat: list[nodes.Node] = []
    for statement in statements:
        for member in statement.nodes if isinstance(statement, nodes.Output) else [statement]:
            line = member.lineno or 1
            if len(flat) in folded:
                flat.append(nodes.TemplateData(folded[len(flat)], lineno=line))
            elif isinstance(member, nodes.Expr) and not isinstance(member, nodes.TemplateData):
                flat.append(nodes.Output([member], lineno=line))
            else:
                flat.append(member)
    return flat


def pieces(flat: Sequence[nodes.Node]) -> list[Piece]:
    """Nodes of `top` as texts and runs in their order; neighbours of a kind are one."""
    made: list[Piece] = []
    run: Run | None = None
    for node in flat:
        if not isinstance(node, nodes.TemplateData):
            if run is None:
                run = Run()
                made.append(run)
            run.nodes.append(node)
        elif made and isinstance(made[-1], str):
            made[-1] += node.data
        else:
            run = None
            made.append(node.data)
    return made


def one_piece(flat: Sequence[nodes.Node]) -> list[Piece]:
    """Nodes of `top` as a single run, texts included: for a part that is one slot."""
    return [
        Run(
            [
                nodes.Output([node], lineno=node.lineno) if isinstance(node, nodes.Expr) else node
                for node in flat
            ]
        )
    ]


def assigned(statements: Sequence[nodes.Node]) -> frozenset[str]:
    """Names that `set` gives a value anywhere in the statements."""
    return frozenset(
        assign.target.name
        for statement in statements
        for assign in (statement, *statement.find_all(nodes.Assign))
        if isinstance(assign, nodes.Assign) and isinstance(assign.target, nodes.Name)
    )


def assigned_here(statements: Sequence[nodes.Node]) -> frozenset[str]:
    """Names that `set` gives a value in the scope of the statements: in branches, not in loops."""
    names: set[str] = set()
    for statement in statements:
        if isinstance(statement, nodes.Assign) and isinstance(statement.target, nodes.Name):
            names.add(statement.target.name)
        elif isinstance(statement, nodes.If):
            names |= assigned_here([*statement.body, *statement.elif_, *statement.else_])
    return frozenset(names)


def identity(run: Run, mode: Mode, changing: frozenset[str]) -> str | None:
    """What tells equal slots: mode and expression, if it reads none of the `changing` names."""
    expression = run.expression
    if expression is None or isinstance(expression, nodes.TemplateData):
        return None
    return None if names_in(expression) & changing else f"{mode}:{expression!r}"
