"""The values of templates and what may be done with them, bounded in size and work.

Both runners of the template language (`template_sandbox`, the reference, and `template_compiler`)
call these same functions, so a bound or a rule is written once.
"""

from __future__ import annotations

from typing import Any, NoReturn, TypeAlias

from jinja2 import StrictUndefined
from markupsafe import Markup, escape

from domain.template_errors import RenderFailed

Value: TypeAlias = Any  # None, bool, int, float, str, list, dict, tuple, range; checked when used

MAX_WORK = 5_000_000
"""Units of work one message may cost: about a character handled, or a twentieth of a node run."""
MAX_TEXT = 100_000
"""Characters of a text that an expression may build."""
MAX_RANGE = 1_000
MAX_NUMBER = 10**18
LONG = 256
"""Texts longer than this are charged to the budget; shorter ones are covered by their node."""

_SCALARS = frozenset({str, Markup, int, float, bool})
_WORDS = {type(None): "none", list: "a list", tuple: "a list", dict: "a mapping", range: "a range"}


class Missing(StrictUndefined):
    """A value that is not there. Any use but `default` and `is defined` fails with its name.

    `str()` of the error raised is the bare name; with `exc=RenderFailed` a hint is the reason.
    """

    __slots__ = ()

    @property
    def _undefined_message(self) -> str:
        return self._undefined_hint or str(self._undefined_name)

    def fail(self) -> NoReturn:
        """Raise the error of this missing value."""
        raise self._undefined_exception(self._undefined_message)


class Budget:
    """The work one message may still cost."""

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = MAX_WORK

    def spend(self, units: int) -> None:
        """Take `units`; raises RenderFailed when nothing is left."""
        self.left -= units
        if self.left < 0:
            raise RenderFailed("the template does more work than one message may")


def nothing(what: str) -> Missing:
    """The missing result of a filter over nothing: `[]|first`."""
    return Missing(hint=what, exc=RenderFailed)  # type: ignore[arg-type]  # ours is no jinja2 error


def refuse_kind(value: Value, wanted: str) -> NoReturn:
    """Raise what using `value` as `wanted` means: MissingVariable's cause, or RenderFailed."""
    if isinstance(value, Missing):
        value.fail()
    kind = type(value)
    word = _WORDS.get(kind, "text" if kind in (str, Markup) else kind.__name__)
    raise RenderFailed(f"{word} cannot be used as {wanted}")


def text_of(value: Value, budget: Budget) -> str:
    """A scalar as text; Markup stays Markup. Nothing else has a text: lists, mappings, none."""
    kind = type(value)
    if kind not in _SCALARS:
        refuse_kind(value, "text")
    text: str = value if isinstance(value, str) else str(value)
    if len(text) > LONG:
        budget.spend(len(text))
    return text


def refuse_longer(size: int) -> None:
    """Raise RenderFailed where an expression would build a text of more than MAX_TEXT characters."""
    if size > MAX_TEXT:
        raise RenderFailed(f"a text grows longer than {MAX_TEXT} characters")


def print_text(value: Value, budget: Budget) -> str:
    """What `{{ value }}` puts into a plain text part."""
    return str(text_of(value, budget))


def print_html(value: Value, budget: Budget) -> Markup:
    """What `{{ value }}` puts into an HTML part: escaped."""
    return escape(text_of(value, budget))


def element(value: Value) -> Value:
    """A member of a list or mapping literal: scalars only, so that no literal grows by doubling."""
    if type(value) not in _SCALARS and value is not None:
        refuse_kind(value, "a member of a list or mapping literal")
    return value


def lookup(holder: Value, name: str | int) -> Value:
    """`holder.name`: items of mappings and lists only, never Python's attributes."""
    found = _find(holder, name)
    return Missing(name=str(name)) if found is _ABSENT else found


def lookup_item(holder: Value, key: Value) -> Value:
    """`holder[key]` with a key that is a value, which no error may tell."""
    if isinstance(key, Missing):
        key.fail()
    found = _find(holder, key)
    return nothing("there is no such item") if found is _ABSENT else found


def _find(holder: Value, key: Value) -> Value:
    if isinstance(holder, Missing):
        holder.fail()
    kind = type(holder)
    if kind is dict and (not isinstance(key, str) or key[:1] != "_"):
        return holder.get(key, _ABSENT)
    if kind in (list, tuple) and type(key) is int and -len(holder) <= key < len(holder):
        return holder[key]
    return _ABSENT


_ABSENT = object()


def steps(value: Value, budget: Budget, weight: int) -> Value:
    """What a `for` goes through, its whole work charged: `weight` units a step."""
    kind = type(value)
    if kind is dict:
        value = list(value)
    elif kind not in (list, tuple, range):
        refuse_kind(value, "what a loop goes through")
    budget.spend(len(value) * weight)
    return value


def make_range(start: Value, budget: Budget, stop: Value = None, step: Value = 1) -> range:
    """The bounded `range` of templates: whole numbers, at most MAX_RANGE of them."""
    for bound in (start, stop, step):
        if type(bound) is not int and bound is not None:
            refuse_kind(bound, "a bound of range")
    made = range(start) if stop is None else range(start, stop, step)
    if len(made[: MAX_RANGE + 1]) > MAX_RANGE:
        raise RenderFailed(f"range gives more than {MAX_RANGE} numbers")
    budget.spend(1)
    return made


def concat(first: Value, budget: Budget, *others: Value) -> str:
    """`first ~ others`: texts joined; where one of them is Markup the others are escaped."""
    return join_texts([text_of(value, budget) for value in (first, *others)], "")


def join_texts(texts: list[str], separator: str) -> str:
    """The texts joined, bounded; escaped into Markup where a text or the separator is Markup."""
    if type(separator) is Markup or any(type(text) is Markup for text in texts):
        texts = [escape(text) for text in texts]
        separator = escape(separator)
    refuse_longer(sum(map(len, texts)) + len(separator) * max(len(texts) - 1, 0))
    return separator.join(texts)


def number(value: Value) -> Value:
    """`value`, if it is a number of a size that stays cheap to work with."""
    kind = type(value)
    if kind is not int and kind is not float and kind is not bool:
        refuse_kind(value, "a number")
    if kind is int and not -MAX_NUMBER <= value <= MAX_NUMBER:
        raise RenderFailed("a number grows too large")
    return value


def add(left: Value, right: Value) -> Value:
    """`left + right`, numbers only."""
    return number(number(left) + number(right))


def subtract(left: Value, right: Value) -> Value:
    """`left - right`, numbers only."""
    return number(number(left) - number(right))


def multiply(left: Value, right: Value) -> Value:
    """`left * right`, numbers only: no text is repeated."""
    return number(number(left) * number(right))


def divide(left: Value, right: Value) -> Value:
    """`left / right`, numbers only."""
    return number(number(left) / number(right))


def divide_floor(left: Value, right: Value) -> Value:
    """`left // right`, numbers only."""
    return number(number(left) // number(right))


def remainder(left: Value, right: Value) -> Value:
    """`left % right`, numbers only: no text is formatted."""
    return number(number(left) % number(right))


ARITHMETIC = {
    "+": add,
    "-": subtract,
    "*": multiply,
    "/": divide,
    "//": divide_floor,
    "%": remainder,
}
