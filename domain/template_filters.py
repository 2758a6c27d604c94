"""The filters of the template language: Jinja2's results, bounded in size and work.

Each takes the value, the message's budget, then the arguments the author may give.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Literal

from jinja2 import filters as jinja
from markupsafe import Markup, escape

from domain.template_conditions import TESTS
from domain.template_errors import RenderFailed
from domain.template_values import (
    Budget,
    Missing,
    Value,
    join_texts,
    lookup,
    nothing,
    number,
    refuse_kind,
    refuse_longer,
    text_of,
)

_URL_SAFE = re.compile("[A-Za-z0-9_.~/-]*")
LEEWAY = 5
"""Characters over its length that truncate leaves alone: Jinja2's policy."""


def upper(value: Value, budget: Budget) -> str:
    """The text in capitals."""
    return text_of(value, budget).upper()


def lower(value: Value, budget: Budget) -> str:
    """The text in small letters."""
    return text_of(value, budget).lower()


def capitalize(value: Value, budget: Budget) -> str:
    """The text with its first letter large, the others small."""
    return text_of(value, budget).capitalize()


def title(value: Value, budget: Budget) -> str:
    """The text with each word's first letter large."""
    text = text_of(value, budget)
    if type(text) is str and text.isalpha():  # one word: what Jinja's slower split would give
        return text[:1].upper() + text[1:].lower()
    return jinja.do_title(text)


def trim(value: Value, budget: Budget, chars: Value = None) -> str:
    """The text without whitespace (or `chars`) at its ends."""
    return text_of(value, budget).strip(None if chars is None else text_of(chars, budget))


def default(
    value: Value, budget: Budget, default_value: Value = "", boolean: Value = False
) -> Value:
    """`default_value` where the value is missing, or empty and `boolean`."""
    if isinstance(value, Missing) or (boolean and not value):
        return default_value
    return value


def join(value: Value, budget: Budget, d: Value = "", attribute: Value = None) -> str:
    """The members of a list as one text with `d` between them."""
    members = pick(members_of(value, budget), attribute)
    return join_texts([text_of(member, budget) for member in members], text_of(d, budget))


def length(value: Value, budget: Budget) -> int:
    """How many members or characters."""
    if not isinstance(value, (str, list, tuple, dict, range)):
        refuse_kind(value, "a list")
    return len(value)


def first(value: Value, budget: Budget) -> Value:
    """The first member or character."""
    return _member(value, 0)


def last(value: Value, budget: Budget) -> Value:
    """The last member or character."""
    return _member(value, -1)


def _member(value: Value, index: int) -> Value:
    if isinstance(value, dict):
        value = list(value)
    if not isinstance(value, (str, list, tuple, range)):
        refuse_kind(value, "a list")
    if not value:
        return nothing("an empty list has no member")
    return str(value)[index] if isinstance(value, str) else value[index]


def round_(value: Value, budget: Budget, precision: Value = 0, method: Value = "common") -> Value:
    """The number rounded; `method` common, ceil or floor."""
    number(value)
    if type(precision) is not int or not -15 <= precision <= 15:
        raise RenderFailed("round takes a precision between -15 and 15")
    if method == "common":
        return number(round(value, precision))
    if method not in ("ceil", "floor"):
        raise RenderFailed("round takes the method common, ceil or floor")
    towards = math.ceil if method == "ceil" else math.floor
    return number(towards(value * (10**precision)) / (10**precision))


def int_(value: Value, budget: Budget, default: Value = 0) -> Value:
    """The value as a whole number, or `default` where it is none."""
    whole = jinja.do_int(_scalar_or_none(value, budget), default)
    return number(whole) if type(whole) is int else whole


def float_(value: Value, budget: Budget, default: Value = 0.0) -> Value:
    """The value as a number with decimals, or `default` where it is none."""
    return jinja.do_float(_scalar_or_none(value, budget), default)


def _scalar_or_none(value: Value, budget: Budget) -> Value:
    if value is None or isinstance(value, (list, tuple, dict, range)):
        return None
    text_of(value, budget)
    return value


def absolute(value: Value, budget: Budget) -> Value:
    """The number without its sign."""
    return abs(number(value))


def replace(value: Value, budget: Budget, old: Value, new: Value, count: Value = None) -> str:
    """The text with `old` replaced by `new`, at most `count` times."""
    text, old, new = (text_of(given, budget) for given in (value, old, new))
    if count is not None and type(count) is not int:
        refuse_kind(count, "a count")
    if type(text) is not Markup and Markup in (type(old), type(new)):
        text = escape(text)
    if type(text) is Markup:
        old, new = str(old), escape(new)
    times = text.count(old) if count is None or count < 0 else min(count, text.count(old))
    refuse_longer(len(text) + times * (len(new) - len(old)))
    return text.replace(old, new, times)


def truncate(
    value: Value,
    budget: Budget,
    length: Value = 255,
    killwords: Value = False,
    end: Value = "...",
    leeway: Value = LEEWAY,
) -> str:
    """The text cut to `length` characters, `end` included."""
    text, ending = text_of(value, budget), text_of(end, budget)
    if type(length) is not int or length < len(ending):
        raise RenderFailed("truncate takes a length that is at least its end's")
    if type(leeway) is not int or leeway < 0:
        raise RenderFailed("truncate takes a leeway of 0 or more")
    if len(text) <= length + leeway:
        return text
    cut = text[: length - len(ending)]
    if not killwords:
        cut = cut.rsplit(" ", 1)[0]
    return cut + ending


def wordcount(value: Value, budget: Budget) -> int:
    """How many words."""
    return jinja.do_wordcount(text_of(value, budget))


def urlencode(value: Value, budget: Budget) -> str:
    """The text quoted for use in a URL."""
    text = text_of(value, budget)
    return str(text) if _URL_SAFE.fullmatch(text) else jinja.do_urlencode(text)


def string(value: Value, budget: Budget) -> str:
    """The value as text."""
    return text_of(value, budget)


def escape_html(value: Value, budget: Budget) -> Markup:
    """The text escaped, once; what `{{ }}` does in an HTML part anyway."""
    return escape(text_of(value, budget))


def escape_text(value: Value, budget: Budget) -> str:
    """The text escaped, as plain text: in parts where nothing is escaped by itself."""
    return str(escape(text_of(value, budget)))


def members_of(value: Value, budget: Budget) -> list[Value]:
    """The members of a list (keys of a mapping) as a new list, charged to the budget."""
    if not isinstance(value, (list, tuple, range, dict)):
        refuse_kind(value, "a list")
    budget.spend(20 * len(value))
    return list(value)


def pick(members: list[Value], attribute: Value) -> list[Value]:
    """`attribute` ("name", "author.name", 0) of each member; the members for None."""
    if attribute is None:
        return members
    path = [int(step) if step.isdecimal() else step for step in str(attribute).split(".")]
    for step in path:
        members = [lookup(member, step) for member in members]
    return members


def _keys(members: list[Value], attribute: Value, is_case_sensitive: bool) -> list[Value]:
    keys = pick(members, attribute)
    if is_case_sensitive:
        return keys
    return [key.lower() if isinstance(key, str) else key for key in keys]


def sum_(value: Value, budget: Budget, attribute: Value = None, start: Value = 0) -> Value:
    """The sum of a list of numbers."""
    total = number(start)
    for member in pick(members_of(value, budget), attribute):
        total = number(total + number(member))
    return total


def min_(
    value: Value, budget: Budget, case_sensitive: Value = False, attribute: Value = None
) -> Value:
    """The smallest member of a list."""
    return _extreme(value, budget, min, _by(attribute, case_sensitive))


def max_(
    value: Value, budget: Budget, case_sensitive: Value = False, attribute: Value = None
) -> Value:
    """The largest member of a list."""
    return _extreme(value, budget, max, _by(attribute, case_sensitive))


def _by(attribute: Value, case_sensitive: Value) -> Callable[[list[Value]], list[Value]]:
    return lambda members: _keys(members, attribute, bool(case_sensitive))


def _extreme(
    value: Value,
    budget: Budget,
    choose: Callable[..., int],
    keys_of: Callable[[list[Value]], list[Value]],
) -> Value:
    members = members_of(value, budget)
    if not members:
        return nothing("an empty list has no member")
    keys = keys_of(members)
    return members[choose(range(len(members)), key=keys.__getitem__)]


def sort(
    value: Value,
    budget: Budget,
    reverse: Value = False,
    case_sensitive: Value = False,
    attribute: Value = None,
) -> list[Value]:
    """The members of a list in order; stable."""
    members = members_of(value, budget)
    columns = [attribute] if attribute is None else str(attribute).split(",")
    keys = [_keys(members, column, bool(case_sensitive)) for column in columns]
    rows = list(zip(*keys, strict=True))
    order = sorted(range(len(members)), key=lambda index: list(rows[index]), reverse=bool(reverse))
    return [members[index] for index in order]


def unique(
    value: Value, budget: Budget, case_sensitive: Value = False, attribute: Value = None
) -> list[Value]:
    """The members of a list, each once, in the order of their first occurrence."""
    members = members_of(value, budget)
    seen: dict[Value, Value] = {}
    for key, member in zip(_keys(members, attribute, bool(case_sensitive)), members, strict=True):
        seen.setdefault(key, member)
    return list(seen.values())


def map_(value: Value, budget: Budget, *, attribute: Value, default: Value = None) -> list[Value]:
    """`attribute` of each member, `default` where it is missing."""
    found = pick(members_of(value, budget), attribute)
    if default is None:
        return found
    return [default if isinstance(member, Missing) else member for member in found]


def selectattr(
    value: Value, budget: Budget, attribute: Value, test: Value = None, *args: Value
) -> list[Value]:
    """The members whose `attribute` is true, or passes `test`."""
    return _select(value, budget, True, (attribute, test, *args))


def rejectattr(
    value: Value, budget: Budget, attribute: Value, test: Value = None, *args: Value
) -> list[Value]:
    """The members whose `attribute` is false, or fails `test`."""
    return _select(value, budget, False, (attribute, test, *args))


def _select(value: Value, budget: Budget, wanted: bool, rule: tuple[Value, ...]) -> list[Value]:
    attribute, test, *args = rule
    check = bool if test is None else TESTS.get(test)
    if check is None:
        raise RenderFailed("selectattr and rejectattr take a test of the template language")
    members = members_of(value, budget)
    found = pick(members, attribute)
    return [
        member
        for member, key in zip(members, found, strict=True)
        if bool(check(key, *args)) is wanted
    ]


def items(value: Value, budget: Budget) -> list[tuple[Value, Value]]:
    """The keys and values of a mapping, as pairs; nothing for a missing one."""
    if isinstance(value, Missing):
        return []
    if not isinstance(value, dict):
        refuse_kind(value, "a mapping")
    budget.spend(20 * len(value))
    return list(value.items())


def reverse(value: Value, budget: Budget) -> Value:
    """The list or text backwards."""
    if isinstance(value, str):
        return str(text_of(value, budget))[::-1]
    return members_of(value, budget)[::-1]


_BOTH: dict[str, Callable[..., Value]] = {
    "abs": absolute,
    "capitalize": capitalize,
    "count": length,
    "d": default,
    "default": default,
    "first": first,
    "float": float_,
    "int": int_,
    "items": items,
    "join": join,
    "last": last,
    "length": length,
    "list": members_of,
    "lower": lower,
    "map": map_,
    "max": max_,
    "min": min_,
    "rejectattr": rejectattr,
    "replace": replace,
    "reverse": reverse,
    "round": round_,
    "selectattr": selectattr,
    "sort": sort,
    "string": string,
    "sum": sum_,
    "title": title,
    "trim": trim,
    "truncate": truncate,
    "unique": unique,
    "upper": upper,
    "urlencode": urlencode,
    "wordcount": wordcount,
}
FILTERS: dict[Literal["html", "text"], dict[str, Callable[..., Value]]] = {
    "html": {**_BOTH, "e": escape_html, "escape": escape_html},
    "text": {**_BOTH, "e": escape_text, "escape": escape_text},
}
"""Filters by the mode of a part; only escaping differs."""
