"""The settings of an evaluation: their types and ranges, as its signature annotates them."""

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Annotated, Any, ParamSpec, TypeVar, get_type_hints

from jacexp.errors import ConfigError, did_you_mean
from jacexp.ranges import AtLeastOne as AtLeastOne
from jacexp.ranges import AtLeastZero, Range, fits, in_words
from jacexp.ranges import Positive as Positive

P = ParamSpec("P")
T = TypeVar("T")


def _is_axis(points: Sequence[float]) -> bool:
    return 0 < len(points) == len(set(points)) and all(0 <= p < math.inf for p in points)


Axis = Annotated[Sequence[float], Range("one or more different finite numbers ≥ 0, [0,0.1]", _is_axis)]
Counts = Annotated[Sequence[int], Range("one or more different whole numbers ≥ 0, [0,1]", _is_axis)]
Seed = AtLeastZero


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
        if not fits(value, kinds[name]):
            raise ConfigError(f"eval.{name}={value}: {function.__name__} takes {in_words(kinds[name])}")
