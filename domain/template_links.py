"""Where a template's output begins a link, and what may stand there: threat 4, `javascript:` in href.

Escaping keeps a value inside its attribute; what the attribute then does depends on how it begins.
`guard` finds these places once, when a template is compiled, and puts a filter there: every other
output costs what it did.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from enum import Enum

from jinja2 import nodes
from markupsafe import Markup

from domain.template_errors import RenderFailed
from domain.template_values import Budget, Value

FILTER = "_link"
"""Not of the language: authors cannot write it."""
ATTRIBUTES = frozenset(
    {"href", "xlink:href", "src", "action", "formaction", "background", "poster", "data", "cite"}
    | {"longdesc", "lowsrc", "dynsrc", "manifest"}
)
SCHEMES = frozenset({"http", "https", "mailto", "tel"})

_USUAL = ("https://", "http://")
_BEFORE_COLON = re.compile("([^/?#:]*):")
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*")
_NAME = re.compile(r"[\w:.-]*$")
_LONGEST_NAME = 40
_SPACE = " \t\r\n\f"


def link(value: Value, budget: Budget) -> Value:
    """The value, which begins a link: without a scheme, or with one of SCHEMES. Raises RenderFailed.

    Browsers pass over control characters and spaces in a scheme, so they are passed over here.
    """
    if not isinstance(value, str):  # a number, or what cannot be printed
        return value
    if value.startswith(_USUAL):  # nothing in these is ever escaped
        return value
    text = value.unescape() if isinstance(value, Markup) else value
    found = _BEFORE_COLON.match(text)
    if found is not None:
        scheme = "".join(c for c in found[1] if c.isprintable() and c != " ").lower()
        if scheme not in SCHEMES and _SCHEME.fullmatch(scheme):
            raise RenderFailed("a link may begin with http:, https:, mailto: or tel: only")
    return value


def guard(tree: nodes.Template) -> None:
    """Put `link` around each expression that may begin the value of one of ATTRIBUTES."""
    begins = _Reader().expressions_that_begin(tree)
    for output in tree.find_all(nodes.Output):
        output.nodes = [
            nodes.Filter(node, FILTER, [], [], None, None, lineno=node.lineno or 1)
            if id(node) in begins
            else node
            for node in output.nodes
        ]


class _Place(Enum):
    """Where the text so far ends."""

    ELSEWHERE = "elsewhere"
    NAME = "name"
    """Behind what may be the end of an attribute's name; which one, only this text knew."""
    BEGINNING = "beginning"
    """In the value of one of ATTRIBUTES that may have no character yet."""


class _Reader:
    """Follows every way through a tree; each node is looked at once for each place it may stand in."""

    def __init__(self) -> None:
        self._begins: set[int] = set()
        self._known: dict[tuple[int, _Place], set[_Place]] = {}

    def expressions_that_begin(self, tree: nodes.Template) -> set[int]:
        """Their ids."""
        self._through(tree.body, _Place.ELSEWHERE)
        return self._begins

    def _through(self, statements: Sequence[nodes.Node], before: _Place) -> set[_Place]:
        places = {before}
        for statement in statements:
            places = _union(self._after(statement, place) for place in places)
        return places

    def _after(self, node: nodes.Node, before: _Place) -> set[_Place]:
        asked = (id(node), before)
        if asked not in self._known:
            self._known[asked] = self._look(node, before)
        return self._known[asked]

    def _look(self, node: nodes.Node, before: _Place) -> set[_Place]:
        match node:
            case nodes.Output():
                return self._through(node.nodes, before)
            case nodes.TemplateData():
                return {_behind(node.data, before)}
            case nodes.Expr():
                if before is not _Place.BEGINNING:
                    return {_Place.ELSEWHERE}
                self._begins.add(id(node))
                return {before}  # it may print nothing
            case nodes.If():
                bodies = [node.body, *(each.body for each in node.elif_), node.else_]
                return _union(self._through(body, before) for body in bodies)
            case nodes.For():
                return self._repeated(node.body, before) | self._through(node.else_, before)
            case _:
                return {before}

    def _repeated(self, body: Sequence[nodes.Node], before: _Place) -> set[_Place]:
        """After the body, however often it is run."""
        reached, fresh = {before}, {before}
        while fresh:
            fresh = _union(self._through(body, place) for place in fresh) - reached
            reached |= fresh
        return reached


def _union(sets: Iterable[set[_Place]]) -> set[_Place]:
    return set[_Place]().union(*sets)


def _behind(text: str, before: _Place) -> _Place:
    """Where one is behind an author's text."""
    rest = text.rstrip(_SPACE)
    if not rest:
        return before
    is_quoted = rest[-1] in "\"'"
    if is_quoted:
        rest = rest[:-1].rstrip(_SPACE)
    if not rest:
        return before if before is _Place.BEGINNING else _Place.ELSEWHERE
    if rest[-1] != "=":
        ends_a_name = not is_quoted and _NAME.search(rest[-1:])
        return _Place.NAME if ends_a_name and ends_a_name[0] else _Place.ELSEWHERE
    head = rest[:-1].rstrip(_SPACE)
    name = _NAME.search(head[-_LONGEST_NAME:])
    assert name is not None  # noqa: S101  it matches nothing, too
    is_whole = len(name[0]) < len(head) or before is not _Place.NAME
    is_link = name[0].lower() in ATTRIBUTES or not is_whole
    return _Place.BEGINNING if is_link else _Place.ELSEWHERE
