"""Runs of any kind in groups: mean test accuracy and its interval, the best by validation, differences by seed."""

import json
import math
from collections.abc import Hashable, Sequence
from typing import Any

import pandas as pd

from jacexp.errors import ConfigError
from jacexp.report.groups import NONE, Group, groups_of, label, text, varied
from jacexp.report.markup import Document, Section
from jacexp.report.stats import Summary, summarize
from jacexp.store.tables import STRENGTHS


def best_of(groups: Sequence[Group]) -> list[Group]:
    """Find, among the groups that are validated on the same images, the one with the lowest mean validation loss.

    Returns:
        One group for each set of images; none that is validated on test images, by ``select=paper``.
    """
    best: dict[tuple[Hashable, ...], Group] = {}
    for group in groups:
        if (group.runs["select"] == "paper").any():
            continue
        if group.val_loss < min(math.inf, best[group.images].val_loss if group.images in best else math.inf):
            best[group.images] = group
    return list(best.values())


def baseline_of(group: Group, groups: Sequence[Group], column: str, value: Any) -> Group | None:
    """Find the group that another is compared with: of those with a value in a column the one that is most like it.

    It is validated on the same images and agrees in most columns, where other methods' strengths and switches do not
    count; of several such groups it is the best by validation.

    Returns:
        The group; None for the baseline itself, and where there is none.
    """
    if group.key[column] == value:
        return None
    others = [g for g in groups if g.key[column] == value and g.images == group.images]
    columns = [c for c in group.key if not (column == "method" and _is_each_methods_own(c))]

    def distance(other: Group) -> tuple[int, float]:
        return sum(other.key[c] != group.key[c] for c in columns), other.val_loss

    return min(others, key=distance, default=None)


def _is_each_methods_own(column: str) -> bool:
    return column in ("strength", *STRENGTHS) or column.startswith("method.")


def difference(group: Group, baseline: Group) -> Summary:
    """Summarise test accuracy minus the baseline's, by seed, in percentage points.

    Returns:
        The sample of differences; of no numbers where no seed has both.

    Raises:
        ConfigError: if a group has several runs of a seed, which cannot be paired.
    """
    pair = []
    for side in (group, baseline):
        again = side.done.loc[side.done["seed"].duplicated(), "seed"]
        if len(again):
            raise ConfigError(
                f"versus= pairs runs by seed, and {label(side.key)} has several of seed {again.iloc[0]}; "
                f"add what tells them apart to by=: {', '.join(varied([side])) or 'nothing that is stored does'}"
            )
        pair.append(side.done.set_index("seed")["test_accuracy"])
    change = (pair[0] - pair[1]).dropna()
    return summarize(change) if len(change) else NONE


def summary(
    runs: pd.DataFrame, by: Sequence[str], versus: str | None = None
) -> tuple[pd.DataFrame, list[str]]:
    """Summarise runs in groups.

    Args:
        runs: as `jacexp.results.load` returns them.
        by: the columns whose values make a group.
        versus: a value of one of these columns, whose group the others are compared with by seed.

    Returns:
        One row a group, and what a reader has to know, one sentence each. The columns are those of ``by``, ``n`` (runs
        that are done), ``mean``, ``deviation``, ``low`` and ``high`` (the mean's 95 % interval) of the test accuracy in
        percent, ``yours`` (how many of the n are the user's, where runs of the reference are among all), ``val_loss``,
        ``best``, ``lost``, and with ``versus`` ``pairs``, ``difference``, ``difference_low`` and
        ``difference_high`` in percentage points.

    Raises:
        ConfigError: for a baseline that is not there, or runs that cannot be paired.
    """
    groups = groups_of(runs, by)
    column = None if versus is None else _column_of(versus, groups)
    best = best_of(groups)
    is_mixed = "source" in runs and runs["source"].nunique() > 1
    rows = []
    for group in groups:
        a = group.accuracy
        row = {**group.key, "n": a.n, "mean": a.mean, "deviation": a.deviation, "low": a.low, "high": a.high}
        if is_mixed:
            row["yours"] = int((group.done["source"] == "yours").sum())
        loss = group.val_loss if math.isfinite(group.val_loss) else math.nan
        row |= {"val_loss": loss, "best": group in best, "lost": group.n_lost}
        if column is not None:
            baseline = baseline_of(group, groups, *column)
            d = difference(group, baseline) if baseline else NONE
            row |= {"pairs": d.n, "difference": d.mean, "difference_low": d.low, "difference_high": d.high}
        rows.append(row)
    types = {name: runs[name].dtype for name in by}  # whole numbers stay whole beside empty cells
    return pd.DataFrame(rows).astype(types), _notes(runs, groups)


def _column_of(versus: str, groups: Sequence[Group]) -> tuple[str, Any]:
    """Find the first column of ``by`` with a value, and that value in its own type."""
    for column in groups[0].key:
        for group in groups:
            if text(group.key[column]) == versus:
                return column, group.key[column]
    values = dict.fromkeys(text(g.key[c]) for c in groups[0].key for g in groups)
    raise ConfigError(f"versus={versus} is the value of no group; there are {', '.join(values)}")


def _notes(runs: pd.DataFrame, groups: Sequence[Group]) -> list[str]:
    notes = [
        f"run {run} ({label(group.key)}, seed {seed}) {status}"
        for group in groups
        for run, seed, status in group.runs[group.runs["status"] != "done"][["run", "seed", "status"]].values
    ]
    if mixed := varied(groups):
        notes.append(
            f"a mean is over runs that differ in {', '.join(mixed)}: add these to by=, or choose a value"
        )
    if unlike := _of_several_contents(runs[runs["status"] == "done"]):
        notes.append(
            f"different data are called {', '.join(unlike)}: choose by run=, or give each a name of its own"
        )
    if any((g.runs["select"] == "paper").any() for g in groups):
        notes.append(
            "runs with select=paper are validated on the test images, so none of them is marked as the best"
        )
    if len({g.accuracy.n for g in groups}) > 1:
        notes.append("the groups have different numbers of runs: their means are not over the same seeds")
    return notes


def _of_several_contents(runs: pd.DataFrame) -> list[str]:
    """Name the data sets whose runs read different files, though name and arguments are the same."""
    files = runs["data"].map(lambda data: json.dumps(json.loads(data).get("files"), sort_keys=True))
    called = [runs[c] for c in runs.columns if c == "dataset" or c.startswith("dataset.")]
    n_contents = files.groupby(called, dropna=False).nunique()
    return sorted(set(n_contents[n_contents > 1].index.get_level_values("dataset")))


def document(
    title: str, table: pd.DataFrame, notes: Sequence[str], by: Sequence[str], versus: str | None
) -> Document:
    """Make the table that is read, of the one that `summary` computed."""
    counts = ["n", "yours"] if "yours" in table else ["n"]
    headings = [*by, *counts, "test accuracy, %", "95 % interval", "validation loss", "best", "lost"]
    rows = []
    for row in table.to_dict("records"):
        cells = [text(row[c]) for c in by]
        cells += [str(row[c]) for c in counts]
        cells += [_mean(row["mean"], row["deviation"]), _interval(row["low"], row["high"])]
        cells += [_number(row["val_loss"], ".4f"), "best" if row["best"] else "", str(row["lost"])]
        if versus is not None:
            ends = _interval(row["difference_low"], row["difference_high"])
            cells += [_number(row["difference"], "+.2f"), ends, str(row["pairs"])]
        rows.append(tuple(cells))
    intro = [
        "Mean ± sample standard deviation over runs; best: the lowest mean validation loss, lost runs excluded."
    ]
    if versus is not None:
        headings += [f"− {versus}, points", "95 % interval", "pairs"]
        intro.append(f"The last columns are differences of test accuracy to {versus}, paired by seed.")
    section = Section(title, tuple(headings), tuple(rows), tuple(notes))
    return Document("", tuple(intro), (section,))


def _number(value: float, form: str) -> str:
    return "–" if math.isnan(value) else f"{value:{form}}"


def _mean(mean: float, deviation: float) -> str:
    return _number(mean, ".2f") + ("" if math.isnan(deviation) else f" ± {deviation:.2f}")


def _interval(low: float, high: float) -> str:
    return "–" if math.isnan(low) else f"[{low:.2f}, {high:.2f}]"
