"""The types of an evaluation's settings, as a command line may give them."""

from collections.abc import Iterable, Sequence
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Any, Literal, get_args, get_origin

WORDS = {float: "a number", int: "a whole number", bool: "true or false", str: "a text", NoneType: "null"}
LISTS = {float: "a list of numbers, [0,0.1]", int: "a list of whole numbers, [0,1]"}


def fits(value: object, kind: Any) -> bool:
    """Say whether a value is of the type that a setting is annotated with; a whole number is a number, too."""
    origin, parts = get_origin(kind), get_args(kind)
    if origin is UnionType:
        return any(fits(value, part) for part in parts)
    if origin is Literal:
        return value in parts
    if origin is Sequence:
        is_list = isinstance(value, Iterable) and not isinstance(value, str)
        return is_list and all(fits(element, parts[0]) for element in value)  # type: ignore[attr-defined]
    if kind in (int, float):
        return isinstance(value, Integral if kind is int else Real) and not isinstance(value, bool)
    return isinstance(value, kind)


def in_words(kind: Any) -> str:
    """Write an annotation for a reader who does not read annotations."""
    origin, parts = get_origin(kind), get_args(kind)
    if origin is UnionType:
        return " or ".join(map(in_words, parts))
    if origin is Literal:
        return f"one of {', '.join(map(str, parts))}"
    return LISTS[parts[0]] if origin is Sequence else WORDS[kind]
