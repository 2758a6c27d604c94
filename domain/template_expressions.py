"""Expressions of the template language as Python source; half of `template_compiler`.

Every text and name of the author appears only as a literal made by `repr`, or as a key of a dict
given to the program; identifiers are numbered ones of ours, or names from our own tables.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeGuard

from jinja2 import nodes

from domain.template_errors import RenderFailed
from domain.template_language import Mode
from domain.template_values import (
    LONG,
    Budget,
    Missing,
    Value,
    print_html,
    print_text,
)

_COMPARISONS = {
    "eq": "==",
    "ne": "!=",
    "gt": ">",
    "gteq": ">=",
    "lt": "<",
    "lteq": "<=",
    "in": "in",
    "notin": "not in",
}
_ARITHMETIC: dict[type[nodes.Node], str] = {
    nodes.Add: "add",
    nodes.Sub: "subtract",
    nodes.Mul: "multiply",
    nodes.Div: "divide",
    nodes.FloorDiv: "divide_floor",
    nodes.Mod: "remainder",
}
_LOOP_VARIABLES = {
    "index": "({i} + 1)",
    "index0": "{i}",
    "first": "({i} == 0)",
    "last": "({i} == {n} - 1)",
    "length": "{n}",
    "revindex": "({n} - {i})",
    "revindex0": "({n} - {i} - 1)",
}


@dataclass(slots=True)
class Scope:
    """Where variables live: the template, or one pass of a loop's body. `set` stays in its scope."""

    parent: Scope | None = None
    locals: dict[str, str] = field(default_factory=dict)
    loop: int | None = None
    """The number of the loop whose body this is."""

    def find(self, name: str) -> str | None:
        """The local of the innermost scope that sets the name."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope.locals:
                return scope.locals[name]
            scope = scope.parent
        return None

    def innermost_loop(self) -> int | None:
        """The number of the loop that `loop` means here."""
        scope: Scope | None = self
        while scope is not None and scope.loop is None:
            scope = scope.parent
        return scope.loop if scope is not None else None


@dataclass(slots=True)
class Program:
    """What the source under construction needs around it."""

    mode: Mode
    namespace: dict[str, Value]
    """Globals of the program: our functions, and one Missing for each name."""
    context_names: dict[str, str] = field(default_factory=dict)
    """Names read from the context, with their locals; reset for each function."""
    absent: dict[str, str] = field(default_factory=dict)
    """Names of the globals made by `missing`."""
    numbers: int = 0

    def number(self) -> int:
        """A number not used before in this program."""
        self.numbers += 1
        return self.numbers

    def from_context(self, name: str) -> str:
        """The local that holds the context's value of the name."""
        return self.context_names.setdefault(name, f"c{len(self.context_names)}")

    def missing(self, name: str) -> str:
        """The global that is the missing value of the name."""
        if name not in self.absent:
            self.absent[name] = f"m{self.number()}"
            self.namespace[self.absent[name]] = Missing(name=name)
        return self.absent[name]


def printed(node: nodes.Node, program: Program, scope: Scope) -> str:
    """Source of the text that `{{ node }}` prints."""
    if isinstance(node, nodes.Const):
        return _constant_text(node, program)
    value = expression(node, program, scope)
    if _is_loop(node) and node.attr not in ("first", "last"):
        return f"text({value})"
    # The common case inline: a short plain text. All else goes through the sandbox's function.
    short = "escaped(t)" if program.mode == "html" else "t"
    return (
        f"({short} if (t := {value}).__class__ is text and size(t) <= {LONG}"
        " else printed(t, budget))"
    )


def _is_loop(node: nodes.Node) -> TypeGuard[nodes.Getattr]:
    """Whether this is loop.index or the like."""
    return (
        isinstance(node, nodes.Getattr)
        and isinstance(node.node, nodes.Name)
        and node.node.name == "loop"
    )


def _constant_text(node: nodes.Const, program: Program) -> str:
    printer = print_html if program.mode == "html" else print_text
    try:
        return repr(str.__str__(printer(node.value, Budget())))
    except RenderFailed:
        return f"printed({node.value!r}, budget)"


def expression(node: nodes.Node, program: Program, scope: Scope) -> str:
    """Source of the value of a checked expression."""
    if type(node) in _ARITHMETIC:
        left, right = _values([node.left, node.right], program, scope)  # type: ignore[attr-defined]
        return f"{_ARITHMETIC[type(node)]}({left}, {right})"
    return _SOURCES[type(node)](node, program, scope)


def _values(members: list[Any], program: Program, scope: Scope) -> list[str]:
    return [expression(member, program, scope) for member in members]


def _const(node: nodes.Const, program: Program, scope: Scope) -> str:
    return f"({node.value!r})"


def _name(node: nodes.Name, program: Program, scope: Scope) -> str:
    return scope.find(node.name) or program.from_context(node.name)


def _attribute(node: nodes.Getattr, program: Program, scope: Scope) -> str:
    if _is_loop(node):
        loop = scope.innermost_loop()
        return _LOOP_VARIABLES[node.attr].format(i=f"i{loop}", n=f"n{loop}")
    return _named(node.node, node.attr, program, scope)


def _named(holder: nodes.Node, name: str, program: Program, scope: Scope) -> str:
    missing = program.missing(name)
    return (
        f"(t.get({name!r}, {missing})"
        f" if (t := {expression(holder, program, scope)}).__class__ is mapping"
        f" else lookup(t, {name!r}))"
    )


def _item(node: nodes.Getitem, program: Program, scope: Scope) -> str:
    if isinstance(node.arg, nodes.Const) and isinstance(node.arg.value, str):
        return _named(node.node, node.arg.value, program, scope)
    holder, key = _values([node.node, node.arg], program, scope)
    return f"lookup_item({holder}, {key})"


def _members(members: list[nodes.Expr], program: Program, scope: Scope) -> str:
    """Members of a literal, each with a comma behind it; those that are no literals checked."""
    made = ""
    for member, source in zip(members, _values(members, program, scope), strict=True):
        made += f"{source}, " if isinstance(member, nodes.Literal) else f"element({source}), "
    return made


def _list(node: nodes.List, program: Program, scope: Scope) -> str:
    return f"[{_members(node.items, program, scope)}]"


def _tuple(node: nodes.Tuple, program: Program, scope: Scope) -> str:
    return f"({_members(node.items, program, scope)})"


def _dict(node: nodes.Dict, program: Program, scope: Scope) -> str:
    pairs = [_members([pair.key, pair.value], program, scope) for pair in node.items]
    return "mapping([" + "".join(f"({pair}), " for pair in pairs) + "])"


def _either(word: str) -> Callable[..., str]:
    def source(node: nodes.And | nodes.Or, program: Program, scope: Scope) -> str:
        left, right = _values([node.left, node.right], program, scope)
        return f"({left} {word} {right})"

    return source


def _unary(sign: str) -> Callable[..., str]:
    def source(node: nodes.UnaryExpr, program: Program, scope: Scope) -> str:
        return f"({sign}{expression(node.node, program, scope)})"

    return source


def _compare(node: nodes.Compare, program: Program, scope: Scope) -> str:
    source = expression(node.expr, program, scope)
    for operand in node.ops:
        source += f" {_COMPARISONS[operand.op]} {expression(operand.expr, program, scope)}"
    return f"({source})"


def _condition(node: nodes.CondExpr, program: Program, scope: Scope) -> str:
    yes, test, no = _values([node.expr1, node.test, node.expr2], program, scope)
    return f"({yes} if {test} else {no})"


def _concat(node: nodes.Concat, program: Program, scope: Scope) -> str:
    first, *others = _values(list(node.nodes), program, scope)
    return f"concat({first}, budget, {', '.join(others)})"


def _range(node: nodes.Call, program: Program, scope: Scope) -> str:
    start, *others = _values(list(node.args), program, scope)
    return f"make_range({start}, budget, {', '.join(others)})"


def _filter(node: nodes.Filter, program: Program, scope: Scope) -> str:
    value = expression(node.node, program, scope)  # type: ignore[arg-type]  # never a filter block
    is_plain_default = node.name in ("default", "d") and not node.kwargs and len(node.args) == 1
    if is_plain_default and isinstance(node.args[0], (nodes.Const, nodes.Name)):
        other = expression(node.args[0], program, scope)
        return f"(t if (t := {value}).__class__ is not missing else {other})"
    arguments = _arguments(node, program, scope)
    return f"f_{node.name}({value}, budget, {arguments})"


def _arguments(node: nodes.Filter | nodes.Test, program: Program, scope: Scope) -> str:
    arguments = _values(list(node.args), program, scope)
    for pair in node.kwargs:
        arguments.append(f"{pair.key}={expression(pair.value, program, scope)}")
    return ", ".join(arguments)


def _test(node: nodes.Test, program: Program, scope: Scope) -> str:
    value = expression(node.node, program, scope)
    if node.name in ("defined", "undefined"):
        return f"(({value}).__class__ is {'not ' if node.name == 'defined' else ''}missing)"
    return f"t_{node.name}({value}, {_arguments(node, program, scope)})"


_SOURCES: dict[type[nodes.Node], Callable[..., str]] = {
    nodes.Const: _const,
    nodes.Name: _name,
    nodes.Getattr: _attribute,
    nodes.Getitem: _item,
    nodes.List: _list,
    nodes.Tuple: _tuple,
    nodes.Dict: _dict,
    nodes.And: _either("and"),
    nodes.Or: _either("or"),
    nodes.Not: _unary("not "),
    nodes.Neg: _unary("-"),
    nodes.Pos: _unary("+"),
    nodes.Compare: _compare,
    nodes.CondExpr: _condition,
    nodes.Concat: _concat,
    nodes.Call: _range,
    nodes.Filter: _filter,
    nodes.Test: _test,
}
