"""The settings of an evaluation: their types and ranges, as its signature annotates them."""

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, ParamSpec, TypeVar, Union, get_args, get_origin, get_type_hints

from jacexp.errors import ConfigError, did_you_mean

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class Range:
    """Which values of a type make sense, in words and as a predicate."""

    words: str
    holds: Callable[[Any], bool]


def _is_axis(points: Sequence[float]) -> bool:
    return 0 < len(points) == len(set(points)) and all(0 <= p < math.inf for p in points)


Axis = Annotated[Sequence[float], Range("one or more different finite numbers ≥ 0, [0,0.1]", _is_axis)]
Counts = Annotated[Sequence[int], Range("one or more different whole numbers ≥ 0, [0,1]", _is_axis)]
Positive = Annotated[float, Range("a finite number greater than 0", lambda value: 0 < value < math.inf)]
AtLeastOne = Annotated[int, Range("a whole number, 1 or more", lambda value: value >= 1)]
Seed = Annotated[int, Range("a whole number ≥ 0", lambda value: value >= 0)]

WORDS = {bool: "true or false", NoneType: "null"}


def checked(function: Callable[P, T]) -> Callable[P, T]:
    """Check the settings of every call against the annotations of the function, before anything is computed."""

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        check(function, kwargs)
        return function(*args, **kwargs)

    return call


def check(function: Callable[..., Any], settings: Mapping[str, Any]) -> None:
    """Check settings against the annotations of a function's keywords.

    Raises:
        ConfigError: for a keyword that the function does not have, with the nearest that it has, or a value of another
            type or out of range.
    """
    parameters = inspect.signature(function).parameters.values()
    known = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
    kinds = get_type_hints(function, include_extras=True)
    for name, value in settings.items():
        if name not in known:
            raise ConfigError(
                f"{function.__name__} has no setting {name}{did_you_mean(name, known)}; it has {', '.join(known)}"
            )
        if not _fits(value, kinds[name]):
            raise ConfigError(f"eval.{name}={value}: {function.__name__} takes {_words(kinds[name])}")


def _fits(value: Any, kind: Any) -> bool:
    """Tell whether a value is of an annotated type and within its range; a whole number is a number, too."""
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _fits(value, parts[0]) and parts[1].holds(value)
    if origin in (UnionType, Union):
        return any(_fits(value, part) for part in parts)
    if origin is Literal:
        return value in parts
    if origin is Sequence:
        is_list = isinstance(value, Sequence) and not isinstance(value, str)
        return is_list and all(_fits(element, parts[0]) for element in value)
    if kind in (int, float):
        return isinstance(value, Integral if kind is int else Real) and not isinstance(value, bool)
    return kind is Any or isinstance(value, kind)


def _words(kind: Any) -> str:
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return str(parts[1].words)
    if origin in (UnionType, Union):
        return " or ".join(map(_words, parts))
    return f"one of {', '.join(map(str, parts))}" if origin is Literal else WORDS[kind]
