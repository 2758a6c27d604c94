"""The template language: which of Jinja2's constructs a template may use, checked before it is used.

`check` walks Jinja's own syntax tree against a whitelist. What passes has no calls but `range`, no
Python attributes, no loops but over what exists: safe and bounded whichever runner runs it.
"""

from __future__ import annotations

import inspect
import math
import unicodedata
from collections.abc import Callable, Collection
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, NoReturn

from jinja2 import Environment, TemplateSyntaxError, nodes

from domain.template_conditions import TESTS
from domain.template_errors import TemplateRefused
from domain.template_filters import FILTERS
from domain.template_links import guard
from domain.template_names import Names, read_names
from domain.template_values import make_range

MAX_SOURCE = 256_000
"""Characters of one part's source."""
MAX_NODES = 10_000
MAX_DEPTH = 50
MAX_LOOP_DEPTH = 8
"""Python allows 20 statically nested loops; nobody needs them."""
LOOP_VARIABLES = frozenset({"index", "index0", "revindex", "revindex0", "first", "last", "length"})
RESERVED = frozenset({"loop", "range", "self", "super", "caller", "varargs", "kwargs"})
"""Names with a meaning of their own in Jinja: never variables here."""

Mode = Literal["html", "text"]


class Part(StrEnum):
    """A part of a message's template; the value is its file's name."""

    SUBJECT = "subject.txt"
    HTML = "body.html"
    TEXT = "body.txt"

    @property
    def mode(self) -> Mode:
        """Whether output is escaped for HTML."""
        return "html" if self is Part.HTML else "text"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """A part that is within the language."""

    part: Part
    tree: nodes.Template
    """Jinja's syntax tree; read it, do not change it."""
    names: frozenset[str]
    """The variables it reads from the context."""
    required: frozenset[str]
    """Those of them that have a use not guarded by `default` or `is defined`."""


_PARSER = Environment(autoescape=False)  # noqa: S701  # only parses; parts escape by their mode

_PLAIN = (
    *(nodes.Output, nodes.TemplateData, nodes.List, nodes.Dict, nodes.Pair, nodes.CondExpr),
    *(nodes.And, nodes.Or, nodes.Not, nodes.Compare, nodes.Operand, nodes.Concat, nodes.Keyword),
    *(nodes.Add, nodes.Sub, nodes.Mul, nodes.Div, nodes.FloorDiv, nodes.Mod, nodes.Neg, nodes.Pos),
    *(nodes.If, nodes.Getitem, nodes.Tuple, nodes.Template),
)
"""Allowed wherever Jinja's grammar allows them; only their children are looked at."""

_REFUSED: dict[type[nodes.Node], str] = {
    nodes.Macro: "macro definitions",
    nodes.CallBlock: "call blocks",
    nodes.FilterBlock: "filter blocks",
    nodes.With: "with blocks",
    nodes.Block: "blocks (template inheritance)",
    nodes.Extends: "extends (template inheritance)",
    nodes.Include: "includes",
    nodes.Import: "imports",
    nodes.FromImport: "imports",
    nodes.AssignBlock: "set blocks",
    nodes.Scope: "autoescape blocks",
    nodes.NSRef: "namespaces",
    nodes.Slice: "slices",
    nodes.Pow: "powers (**)",
}


def check(source: str, *, part: Part) -> Checked:
    """The part's tree and names. Raises TemplateRefused with a sentence that names part and line."""
    _check_text(source, part)
    try:
        tree = _PARSER.parse(source)
        _Checker(part).visit(tree, depth=0, loops=0)
        names = read_names(tree)
    except TemplateSyntaxError as error:
        message = (error.message or "syntax error").rstrip(".")
        raise TemplateRefused(f"{part} line {error.lineno}: {message}") from error
    except RecursionError as error:
        raise TemplateRefused(f"{part}: it is nested too deeply") from error
    except ValueError as error:  # Jinja's lexer on a number of thousands of digits
        raise TemplateRefused(f"{part}: a number in it is too long") from error
    _check_names(names, part)
    if part.mode == "html":
        guard(tree)
    return Checked(part=part, tree=tree, names=names.used, required=names.required)


def _check_text(source: str, part: Part) -> None:
    if len(source) > MAX_SOURCE:
        raise TemplateRefused(f"{part}: it is longer than {MAX_SOURCE} characters")
    if not is_unicode(source) or "\0" in source:
        raise TemplateRefused(f"{part}: it holds NUL or half a surrogate pair, which is no text")


def _check_names(names: Names, part: Part) -> None:
    if names.set_too_late:
        name, line = names.set_too_late
        raise TemplateRefused(
            f"{part} line {line}: '{name}' is set after a loop that reads it; set it before"
        )


def is_unicode(text: str) -> bool:
    """Whether the text can be encoded: it holds no half of a surrogate pair."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


class _Checker:
    """Walks a tree; `loops` is how many loops' bodies the node stands in."""

    def __init__(self, part: Part) -> None:
        self.part = part
        self.filters = FILTERS[part.mode]
        self.count = 0

    def refuse(self, node: nodes.Node, sentence: str) -> NoReturn:
        line = node.lineno or next(child.lineno for child in node.iter_child_nodes())
        raise TemplateRefused(f"{self.part} line {line}: {sentence}")

    def outside(self, node: nodes.Node, what: str) -> NoReturn:
        self.refuse(node, f"{what} are not part of Carillon's template language")

    def visit(self, node: nodes.Node, depth: int, loops: int) -> None:
        self.count += 1
        if self.count > MAX_NODES:
            self.refuse(node, f"the template has more than {MAX_NODES} elements")
        if depth > MAX_DEPTH:
            self.refuse(node, "it is nested too deeply")
        rule = _RULES.get(type(node))
        if rule is not None:
            rule(self, node, depth, loops)
        elif type(node) in _PLAIN:
            self.children(node, depth, loops)
        else:
            self.outside(node, _REFUSED.get(type(node), f"'{type(node).__name__}' constructs"))

    def children(self, node: nodes.Node, depth: int, loops: int) -> None:
        for child in node.iter_child_nodes():
            self.visit(child, depth + 1, loops)

    def each(self, members: Collection[nodes.Node], depth: int, loops: int) -> None:
        for member in members:
            self.visit(member, depth + 1, loops)

    def const(self, node: nodes.Const, depth: int, loops: int) -> None:
        if isinstance(node.value, str) and not is_unicode(node.value):
            self.refuse(node, "a text holds half a surrogate pair")
        if isinstance(node.value, float) and not math.isfinite(node.value):
            self.refuse(node, "a number is too large")

    def name(self, node: nodes.Name, depth: int, loops: int) -> None:
        name = node.name
        if name == "loop":
            self.refuse(node, "'loop' can only be used as loop.index and the like")
        if name in RESERVED:
            self.refuse(node, f"'{name}' cannot be the name of a variable")
        if name.startswith("_"):
            self.refuse(node, f"'{name}': names that start with '_' are not allowed")
        if unicodedata.normalize("NFKC", name) != name:
            self.refuse(node, f"'{name}': the name has characters with several forms")

    def attribute(self, node: nodes.Getattr, depth: int, loops: int) -> None:
        if isinstance(node.node, nodes.Name) and node.node.name == "loop":
            self.loop_variable(node, loops)
            return
        if node.attr.startswith("_"):
            self.refuse(node, f"'{node.attr}': names that start with '_' are not allowed")
        self.visit(node.node, depth + 1, loops)

    def loop_variable(self, node: nodes.Getattr, loops: int) -> None:
        if not loops:
            self.refuse(node, "'loop' is only known inside a for loop")
        if node.attr not in LOOP_VARIABLES:
            self.refuse(node, f"loop.{node.attr} is not part of Carillon's template language")

    def item(self, node: nodes.Getitem, depth: int, loops: int) -> None:
        key = node.arg
        if isinstance(key, nodes.Const) and str(key.value).startswith("_"):
            self.refuse(node, f"'{key.value}': names that start with '_' are not allowed")
        self.children(node, depth, loops)

    def filter(self, node: nodes.Filter, depth: int, loops: int) -> None:
        function = self.filters.get(node.name)
        if function is None:
            self.refuse(
                node, f"the filter '{node.name}' is not part of Carillon's template language"
            )
        self.arguments(node, function, f"the filter '{node.name}'", 2)
        self.children(node, depth, loops)

    def test(self, node: nodes.Test, depth: int, loops: int) -> None:
        function = TESTS.get(node.name)
        if function is None:
            self.refuse(node, f"the test '{node.name}' is not part of Carillon's template language")
        self.arguments(node, function, f"the test '{node.name}'", 1)
        self.children(node, depth, loops)

    def call(self, node: nodes.Call, depth: int, loops: int) -> None:
        if isinstance(node.node, nodes.Getattr):
            self.outside(node, f"method calls like .{node.node.attr}()")
        if not isinstance(node.node, nodes.Name) or node.node.name != "range":
            self.outside(node, "calls of anything but range()")
        self.arguments(node, make_range, "range", 1)
        if not node.args or node.kwargs:
            self.refuse(node, "range takes one to three whole numbers")
        self.each(node.args, depth, loops)

    def arguments(
        self,
        node: nodes.Filter | nodes.Test | nodes.Call,
        function: Callable[..., object],
        what: str,
        given: int,
    ) -> None:
        """Refuse arguments the function does not take; `given` are passed besides the author's."""
        if node.dyn_args is not None or node.dyn_kwargs is not None:
            self.outside(node, "arguments with * and **")
        keywords = {str(pair.key): None for pair in node.kwargs}
        if len(keywords) < len(node.kwargs):
            self.refuse(node, f"{what} is given an argument twice")
        try:
            inspect.signature(function).bind(*[None] * given, *[None] * len(node.args), **keywords)
        except TypeError:
            self.refuse(node, f"{what} does not take these arguments")

    def cond(self, node: nodes.CondExpr, depth: int, loops: int) -> None:
        if node.expr2 is None:
            self.refuse(node, "an inline 'if' needs its 'else'")
        self.children(node, depth, loops)

    def assign(self, node: nodes.Assign, depth: int, loops: int) -> None:
        if not isinstance(node.target, nodes.Name):
            self.refuse(node, "set takes one variable and its value")
        self.children(node, depth, loops)

    def loop(self, node: nodes.For, depth: int, loops: int) -> None:
        if node.recursive:
            self.outside(node, "recursive loops")
        if loops >= MAX_LOOP_DEPTH:
            self.refuse(node, f"more than {MAX_LOOP_DEPTH} loops stand inside each other")
        targets = node.target.items if isinstance(node.target, nodes.Tuple) else [node.target]
        if not all(isinstance(target, nodes.Name) for target in targets):
            self.refuse(node, "a loop takes one variable, or several with commas between them")
        self.each(targets, depth, loops)
        self.visit(node.iter, depth + 1, loops)
        if node.test is not None:
            self.visit(node.test, depth + 1, 0)
        self.each(node.body, depth, loops + 1)
        self.each(node.else_, depth, loops)


_RULES: dict[type[nodes.Node], Callable[..., None]] = {
    nodes.Const: _Checker.const,
    nodes.Name: _Checker.name,
    nodes.Getattr: _Checker.attribute,
    nodes.Getitem: _Checker.item,
    nodes.Filter: _Checker.filter,
    nodes.Test: _Checker.test,
    nodes.Call: _Checker.call,
    nodes.CondExpr: _Checker.cond,
    nodes.Assign: _Checker.assign,
    nodes.For: _Checker.loop,
}
