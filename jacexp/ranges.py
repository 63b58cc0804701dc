"""Types with ranges, as signatures and classes annotate their settings: which values fit, and that in words."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin


@dataclass(frozen=True)
class Range:
    """Which values of a type make sense, in words and as a predicate."""

    words: str
    holds: Callable[[Any], bool]


Positive = Annotated[float, Range("a finite number greater than 0", lambda value: 0 < value < math.inf)]
NotNegative = Annotated[float, Range("a finite number ≥ 0", lambda value: 0 <= value < math.inf)]
AtLeastOne = Annotated[int, Range("a whole number, 1 or more", lambda value: value >= 1)]
AtLeastZero = Annotated[int, Range("a whole number ≥ 0", lambda value: value >= 0)]

WORDS = {
    bool: "true or false",
    float: "a finite number",
    int: "a whole number",
    str: "a word",
    NoneType: "null",
}

LISTS = (Sequence, list, tuple)
"""Types of lists."""


def fits(value: Any, kind: Any) -> bool:
    """Return whether a value has an annotated type and lies in its range; a whole number passes as a float."""
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return fits(value, parts[0]) and all(note.holds(value) for note in parts[1:])
    if origin in (UnionType, Union):
        return any(fits(value, part) for part in parts)
    if origin is Literal:
        return any(value == part and type(value) is type(part) for part in parts)
    if origin in LISTS:
        is_list = isinstance(value, Sequence) and not isinstance(value, str)
        each = _elements(kind, len(value) if is_list else 0)
        return is_list and len(each) == len(value) and all(map(fits, value, each))
    if kind is int:
        return isinstance(value, Integral) and not isinstance(value, bool)
    if kind is float:
        return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    return kind is Any or isinstance(value, kind)


def _elements(kind: Any, length: int) -> Sequence[Any]:
    """Return the types of a list's elements: one for all, or those of a tuple with a type for each."""
    parts = get_args(kind)
    is_uniform = get_origin(kind) is not tuple or parts[1:] == (...,)
    return parts[:1] * length if is_uniform else parts


def in_words(kind: Any) -> str:
    """Describe the values that fit an annotated type."""
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return next((note.words for note in parts[1:]), None) or in_words(parts[0])
    if origin in (UnionType, Union):
        return " or ".join(map(in_words, parts))
    if origin in LISTS:
        return f"a list of values, each {in_words(_elements(kind, 1)[0])}"
    return f"one of {', '.join(map(str, parts))}" if origin is Literal else WORDS[kind]
