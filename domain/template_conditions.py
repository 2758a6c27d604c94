"""The tests of the template language: what may follow `is`, with Jinja2's results."""

from __future__ import annotations

import operator
from collections.abc import Callable

from domain.template_values import Missing, Value, number, refuse_kind


def is_defined(value: Value) -> bool:
    """Whether there is such a value."""
    return not isinstance(value, Missing)


def is_undefined(value: Value) -> bool:
    """Whether there is no such value."""
    return isinstance(value, Missing)


def is_none(value: Value) -> bool:
    """Whether the value is none."""
    return value is None


def is_boolean(value: Value) -> bool:
    """Whether the value is true or false."""
    return value is True or value is False


def is_true(value: Value) -> bool:
    """Whether the value is true itself."""
    return value is True


def is_false(value: Value) -> bool:
    """Whether the value is false itself."""
    return value is False


def is_integer(value: Value) -> bool:
    """Whether the value is a whole number."""
    return type(value) is int


def is_float(value: Value) -> bool:
    """Whether the value is a number with decimals."""
    return type(value) is float


def is_number(value: Value) -> bool:
    """Whether the value is a number (Python counts true and false among them)."""
    return isinstance(value, (int, float))


def is_string(value: Value) -> bool:
    """Whether the value is text."""
    return isinstance(value, str)


def is_mapping(value: Value) -> bool:
    """Whether the value is a mapping."""
    return isinstance(value, dict)


def is_even(value: Value) -> bool:
    """Whether the number is even."""
    return bool(number(value) % 2 == 0)


def is_odd(value: Value) -> bool:
    """Whether the number is odd."""
    return bool(number(value) % 2 == 1)


def is_divisibleby(value: Value, num: Value) -> bool:
    """Whether the number is a multiple of `num`."""
    return bool(number(value) % number(num) == 0)


def is_in(value: Value, seq: Value) -> bool:
    """Whether `seq` holds the value."""
    if not isinstance(seq, (str, list, tuple, dict, range)):
        refuse_kind(seq, "a list")
    return value in seq


TESTS: dict[str, Callable[..., bool]] = {
    "boolean": is_boolean,
    "defined": is_defined,
    "divisibleby": is_divisibleby,
    "eq": operator.eq,
    "equalto": operator.eq,
    "even": is_even,
    "false": is_false,
    "float": is_float,
    "ge": operator.ge,
    "greaterthan": operator.gt,
    "gt": operator.gt,
    "in": is_in,
    "integer": is_integer,
    "le": operator.le,
    "lessthan": operator.lt,
    "lt": operator.lt,
    "mapping": is_mapping,
    "ne": operator.ne,
    "none": is_none,
    "number": is_number,
    "odd": is_odd,
    "string": is_string,
    "true": is_true,
    "undefined": is_undefined,
}
