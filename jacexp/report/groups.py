"""Runs of any kind in groups: by the values of columns, in their order or the best by validation first."""

import json
import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from jacexp.report.stats import Summary, summarize
from jacexp.store.tables import CONFIG

DATA = ("dataset", "select", "subset", "data.holdout")
"""The columns that decide on which images a run is validated, beside the arguments of a data set of one's own."""

SAID_OTHERWISE = {"seed", "options", "strength"}
"""Columns that do not tell settings apart by themselves: ``options`` has a column for each key."""

NONE = Summary(0, math.nan, math.nan, math.nan, math.nan)


@dataclass(frozen=True)
class Group:
    """Runs that agree in the columns of ``by``."""

    key: Mapping[str, Any]
    """The values in these columns; None for an empty cell."""
    runs: pd.DataFrame

    @cached_property
    def done(self) -> pd.DataFrame:
        """The runs that were tested."""
        return self.runs[self.runs["status"] == "done"]

    @property
    def n_lost(self) -> int:
        """How many runs diverged or failed."""
        return len(self.runs) - len(self.done)

    @property
    def accuracy(self) -> Summary:
        """Test accuracy in percent over the runs that are done."""
        return summarize(self.done["test_accuracy"]) if len(self.done) else NONE

    @cached_property
    def val_loss(self) -> float:
        """The mean validation loss; infinite if a run is lost, so that such a group is never the best."""
        loss = float(self.runs["val_loss"].mean(skipna=False))
        return loss if not self.n_lost and math.isfinite(loss) else math.inf

    @property
    def images(self) -> tuple[Hashable, ...]:
        """What is known of the images that it is validated on: only groups that share them are compared."""
        return tuple(str(v) for c, v in self.key.items() if _tells_data(c))


def _tells_data(column: str) -> bool:
    return column in DATA or column.startswith("dataset.")


def groups_of(runs: pd.DataFrame, by: Sequence[str]) -> list[Group]:
    """Group runs by the values of some columns, in the order of these values; empty cells are a value too."""
    if not by:
        return [Group({}, runs.sort_values("seed", kind="stable"))]
    groups = []
    for values, mine in runs.groupby(list(by), dropna=False, sort=False):
        cells: tuple[Any, ...] = values
        key = {c: None if pd.isna(v) else v for c, v in zip(by, cells, strict=True)}
        groups.append(Group(key, mine.sort_values("seed", kind="stable")))
    return sorted(groups, key=lambda g: [_rank(value) for value in g.key.values()])


def _rank(value: Any) -> tuple[int, float, str]:
    """Order empty cells before numbers before words."""
    if value is None:
        return 0, 0.0, ""
    return (2, 0.0, value) if isinstance(value, str) else (1, float(value), "")


def ranked(groups: Iterable[Group]) -> list[Group]:
    """Put the group first that stands for all: most runs, none lost, and then the lowest validation loss."""
    # A mean over fewer runs is not comparable.
    return sorted(groups, key=lambda g: (g.val_loss == math.inf, -len(g.done), g.val_loss))


def varied(groups: Sequence[Group]) -> list[str]:
    """Name the columns in which runs of one group were trained differently, seeds apart."""
    return [
        c
        for c in (groups[0].runs.columns if groups else ())
        if (c in CONFIG or "." in c) and c not in SAID_OTHERWISE
        if any(g.runs[c].nunique(dropna=False) > 1 for g in groups)
    ]


def label(key: Mapping[str, Any]) -> str:
    """Name a group by its values, as in ``method spec, lam 0.01``."""
    return ", ".join(f"{column} {text(value)}" for column, value in key.items())


def text(value: Any) -> str:
    """Write a value of a table; an empty cell is a dash."""
    if value is None or pd.isna(value):
        return "–"
    if isinstance(value, bool | np.bool_):
        return json.dumps(bool(value))
    return f"{value:.6g}" if isinstance(value, float) else str(value)
