"""The curves of the networks that stand for each method: counts in, percent and percentage points out."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from jacexp.report.paper import EXPERIMENTS, SIZE_METHODS, SIZES, Experiment, size_experiment
from jacexp.report.select import Selection, percent


@dataclass(frozen=True)
class Curves:
    """One evaluation of the chosen networks of one experiment, all under the same threat and settings."""

    experiment: Experiment
    evaluation: str
    points: pd.DataFrame
    """One row a network and point: method, seed, value, error (%), change (points of accuracy), mean, check."""
    threat: str
    """What was perturbed and what was clipped."""
    settings: str
    """The rest of the evaluation's settings, as JSON."""
    notes: tuple[str, ...]
    """What was put aside and what the self-checks say, one sentence each."""
    yours: frozenset[str] = frozenset()
    """The runs that are the user's, where those of the reference are there too."""

    def count(self, method: str) -> str:
        """Write how many networks a method has, and how many of them are the user's, as in ``3 (1 yours)``."""
        runs = set(self.points.loc[self.points["method"] == method, "run"])
        mine = len(runs & self.yours)
        return f"{len(runs)} ({mine} yours)" if mine else str(len(runs))

    def networks(self, method: str) -> list[int]:
        """Return the seeds of a method's networks."""
        return sorted(self.points.loc[self.points["method"] == method, "seed"].unique())

    def band(self, method: str, column: str) -> pd.DataFrame:
        """Return the mean and the standard deviation (n − 1; 0 for one network) over a method's networks, by value."""
        mine = self.points[self.points["method"] == method]
        return band(mine, column).fillna({"deviation": 0.0})[["mean", "deviation", "flagged"]]

    def table(self, method: str, column: str) -> pd.DataFrame:
        """Return a column as a table, one row a seed, one column a value; points that a network lacks are left out."""
        mine = self.points[self.points["method"] == method]
        return mine.pivot_table(index="seed", columns="value", values=column).dropna(axis="columns")

    @cached_property
    def drops(self) -> dict[str, pd.Series]:
        """How far each network falls below its clean accuracy, on the mean over the curve.

        Percentage points by seed, by method, averaged over the points above 0 that every network of every method has.
        """
        tables = {m: self.table(m, "change") for m in sorted(set(self.points["method"]))}
        common = set.intersection(*(set(table.columns) for table in tables.values())) if tables else set()
        points = sorted(value for value in common if float(value) > 0)
        return {m: -table[points].mean(axis="columns").dropna() for m, table in tables.items()}


def band(points: pd.DataFrame, column: str) -> pd.DataFrame:
    """Summarise points over networks, by value: n, mean, deviation (n − 1; NaN for one), and whether one is flagged."""
    by_value = points.dropna(subset=[column]).groupby("value")
    flagged = by_value["check"].agg(lambda flags: any(flags != "")).astype(bool)
    over = by_value[column]
    return pd.DataFrame(
        {"n": over.count(), "mean": over.mean(), "deviation": over.std(ddof=1), "flagged": flagged}
    )


def common_band(points: pd.DataFrame, column: str) -> pd.DataFrame:
    """Summarise, as `band` does, the points that all networks have; the deviation of one network is 0."""
    common = points.groupby("value")["run"].nunique() == points["run"].nunique()
    return band(points, column).fillna({"deviation": 0.0})[common]


def curves_of(
    selection: Selection, experiment: Experiment, evaluation: str, statistic: str | None = None
) -> Curves:
    """Gather an evaluation of the networks that stand for the methods of an experiment.

    Curves of one evaluation may have been made under several threats or settings; those of most networks are taken,
    of the latest if there are several such.

    Args:
        selection: the stored runs and the way of selection.
        experiment: whose networks.
        evaluation: the ``eval`` column.
        statistic: the ``statistic`` column, or None for whichever is there.

    Returns:
        The curves, without a point where nothing is stored.
    """
    chosen = selection.networks(experiment)
    stored = selection.store.curves
    mine = stored[(stored["eval"] == evaluation) & stored["run"].isin(chosen.index)]
    if statistic is not None:
        mine = mine[mine["statistic"] == statistic]
    mine, notes = one_threat(mine)
    clean = _clean_accuracy(mine, chosen)
    accuracy = 100 * mine["n_correct"] / mine["n"]
    points = mine.assign(error=100 - accuracy, change=accuracy - clean)
    columns = ["method", "seed", "run", "value", "error", "change", "mean", "check"]
    threat, settings = (mine["threat"].iloc[0], mine["settings"].iloc[0]) if len(mine) else ("", "")
    kept = points[columns].reset_index(drop=True)
    notes += _flags(mine)
    return Curves(experiment, evaluation, kept, threat, settings, tuple(notes), selection.store.yours)


def one_threat(curves: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Keep the points under the threat and settings of most networks, and say in sentences what is left out."""
    kinds = curves.groupby(["threat", "settings"], sort=True).agg(
        n=("run", "nunique"), last=("started", "max")
    )
    if len(kinds) < 2:
        return curves, []
    threat, settings = kinds.sort_values(["n", "last"]).index[-1]
    taken = (curves["threat"] == threat) & (curves["settings"] == settings)
    notes = [
        f"not shown: {n} networks under {name[0]} with {name[1]}"
        for name, n in zip(kinds.index, kinds["n"], strict=True)
        if name != (threat, settings)
    ]
    return curves[taken], notes


def _clean_accuracy(curves: pd.DataFrame, runs: pd.DataFrame) -> pd.Series:
    """Each point's own network on unperturbed images, percent: the curve's point at 0, or the run's test result."""
    at_zero = curves[curves["value"] == 0].drop_duplicates("run", keep="last").set_index("run")
    zero = curves["run"].map(100 * at_zero["n_correct"] / at_zero["n"])
    tested = curves["run"].map(100 * runs["n_test_correct"] / runs["n_test"])
    # A curve over a part of the test set is not compared with the accuracy on all of it.
    same_images = curves["run"].map(runs["n_test"]) == curves["n"]
    return zero.fillna(tested.where(same_images, np.nan))


def _flags(curves: pd.DataFrame) -> list[str]:
    flagged = curves[curves["check"] != ""]
    notes = []
    for method, rows in flagged.groupby("method", sort=True):
        names = sorted({flag.split("=")[0] for flags in rows["check"] for flag in flags.split(";")})
        points = f"{len(rows)} of {int((curves['method'] == method).sum())} points"
        notes.append(f"self-check of {method}: {', '.join(names)} ({points})")
    return notes


def distances_of(selection: Selection, experiment: Experiment, seed: int) -> pd.DataFrame:
    """Gather the boundary distances of one network a method, on the test images that all of them classify correctly.

    A network's file holds the images that it classifies correctly, so the images of all files are those.

    Args:
        selection: the stored runs and the way of selection.
        experiment: whose networks.
        seed: which network of each method.

    Returns:
        One row a test image, one column a method; infinite where no boundary was found within the largest radius.
    """
    columns = {}
    chosen = selection.networks(experiment)
    for run, method in chosen.loc[chosen["seed"] == seed, "method"].items():
        stored = selection.store.distances(str(run))
        if stored is not None:
            columns[method] = stored.set_index("index")["distance"]
    return pd.DataFrame(columns).dropna()


BOUNDS: Mapping[str, str] = {"bound_reshaped_error": "reshaped", "bound_operator_error": "operator"}
"""The statistics of ``eval=jacobian`` that say how far the product of the layers' norms is off.

The paper's product takes a kernel as a matrix, ``reshaped``; the one that is a bound takes the ``operator``.
"""


@dataclass(frozen=True)
class ErrorCurves:
    """The relative errors of one set's networks."""

    experiment: Experiment
    iterations: Curves
    """Of n power iterations, on spec's networks."""
    bounds: Mapping[str, pd.Series]
    """Of the products of the layers' norms on spec_bound's networks, by seed, by the name in `BOUNDS`."""

    @property
    def bound(self) -> pd.Series:
        """The relative error of the paper's product, by seed."""
        return self.bounds["reshaped"]


def error_curves(selection: Selection) -> ErrorCurves:
    """Return the relative errors on the first LeNet set that has them; the paper does not say on which it drew them."""
    found = [_error_curves(selection, e) for e in EXPERIMENTS["P2"] if e.model == "lenet"]
    return next((f for f in found if f.iterations.networks("spec")), found[0])


def _error_curves(selection: Selection, experiment: Experiment) -> ErrorCurves:
    bounds = {}
    for statistic, name in BOUNDS.items():
        points = curves_of(selection, experiment, "jacobian", statistic).points
        bounds[name] = points[points["method"] == "spec_bound"].set_index("seed")["mean"].abs()
    return ErrorCurves(experiment, curves_of(selection, experiment, "jacobian", "relative_error"), bounds)


def size_table(selection: Selection, *, augmented: bool) -> pd.DataFrame:
    """Return the test error of both methods at every size that is stored.

    Returns:
        One row a method, size and seed: method, size, seed, error (%), strength of the chosen setting.
    """
    rows = []
    for size in SIZES:
        for method in SIZE_METHODS:
            choice = selection.choice(size_experiment(size, augmented=augmented), method)
            strength = choice.best.strength if choice.best else None
            rows += [(method, size, seed, error, strength) for seed, error in percent(choice).items()]
    return pd.DataFrame(rows, columns=["method", "size", "seed", "error", "strength"])
