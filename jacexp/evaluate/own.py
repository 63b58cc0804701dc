"""Evaluations of a user's own, by the import path of a function."""

from collections.abc import Callable
from inspect import Parameter, Signature
from typing import Any

import pandas as pd

from jacexp.errors import ConfigError
from jacexp.evaluate.frozen import EvaluationError
from jacexp.evaluate.points import COLUMNS
from jacexp.evaluate.registry import EVALUATIONS, Evaluation
from jacexp.evaluate.settings import Axis, Counts
from jacexp.ranges import in_words
from jacexp.targets import imported, signature

FORM = "write it as def NAME(samples, *, SETTING: TYPE = DEFAULT)"


def register_evaluation(name: str, target: str) -> None:
    """Make a function an evaluation of this process, under a name.

    Args:
        name: what tables call it.
        target: the function's import path. It takes `Samples` and settings by annotated keywords, of which one that is
            an ``Axis`` or ``Counts`` of `jacexp.evaluate.settings` lists the points of a curve.

    Raises:
        ConfigError: for a name of the project's, or a function of another form.
    """
    if name in EVALUATIONS and getattr(EVALUATIONS[name].function, "target", None) != target:
        raise ConfigError(f"eval={name} is an evaluation of jacexp's: call eval._target_={target} otherwise")
    if not name.strip() or set(name) & set("/,"):
        raise ConfigError(f"eval='{name}': choose a name without slashes and commas")
    EVALUATIONS[name] = own_evaluation(target)


def own_evaluation(target: str) -> Evaluation:
    """Make an evaluation of a user's function; see `register_evaluation`.

    Returns:
        The evaluation, which refuses rows that no table holds.

    Raises:
        ConfigError: if it cannot be imported, or has another form.
    """
    function = imported(target, "eval._target_")
    parameters = list(signature(function).values())
    by_position = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
    if not parameters or parameters[0].kind not in by_position:
        raise ConfigError(f"eval._target_={target} does not take samples; {FORM}")
    for p in parameters[1:]:
        if p.kind is not Parameter.KEYWORD_ONLY or not _has_words(p.annotation):
            raise ConfigError(f"eval._target_={target}: {p.name} is no keyword of a plain type; {FORM}")
        if p.name in ("n_samples", "batch_size"):
            raise ConfigError(f"eval._target_={target}: {p.name} is a setting of every evaluation: rename it")
    axes = [p for p in parameters if p.annotation in (Axis, Counts)]
    if len(axes) > 1:
        raise ConfigError(f"eval._target_={target} has two axes, {axes[0].name} and {axes[1].name}; keep one")
    return Evaluation(
        _checked(function, target, axes[0].name if axes else None), axes[0].name if axes else None
    )


def _checked(function: Callable[..., Any], target: str, axis: str | None) -> Callable[..., pd.DataFrame]:
    """Wrap the function, so that what it returns is what tables hold."""

    def call(samples: Any, **settings: Any) -> pd.DataFrame:
        found = function(samples, **settings)
        _check_points(found, target, settings.get(axis) if axis else None)
        table = found.reindex(columns=list(COLUMNS))
        texts = [name for name, kind in COLUMNS.items() if kind == "str"]
        table[texts] = table[texts].astype(object).fillna("")
        return table.astype(COLUMNS)

    call.__name__ = getattr(function, "__name__", target)
    call.__signature__ = Signature(list(signature(function).values()))  # type: ignore[attr-defined]  # what `check` reads
    call.__annotations__ = {p.name: p.annotation for p in signature(function).values()}
    call.target = target  # type: ignore[attr-defined]
    return call


def _has_words(kind: Any) -> bool:
    try:
        return kind is not Parameter.empty and bool(in_words(kind))
    except (KeyError, TypeError):
        return False


def _check_points(found: Any, target: str, axis: Any) -> None:
    """Refuse what is no table of points.

    Raises:
        EvaluationError: saying what is missing.
    """
    if not isinstance(found, pd.DataFrame) or found.empty:
        raise EvaluationError(
            f"{target} returned {type(found).__name__} without rows, not a DataFrame of points"
        )
    if odd := [str(c) for c in found.columns if c not in COLUMNS]:
        raise EvaluationError(f"{target} returned the column {odd[0]}; a point has {', '.join(COLUMNS)}")
    complete = found.reindex(columns=list(COLUMNS))
    counted, measured = complete[["n", "n_correct"]].notna().all(axis=1), complete["mean"].notna()
    if not (counted | measured).all():
        raise EvaluationError(f"{target} returned a point with neither n and n_correct nor a mean")
    if (complete["n_correct"] > complete["n"]).any():
        raise EvaluationError(f"{target} returned a point with more right answers than images")
    if axis is not None and sorted(set(complete["value"].dropna())) != sorted(map(float, axis)):
        raise EvaluationError(f"{target} returned other values than the points {list(axis)} of its axis")
