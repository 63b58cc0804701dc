"""What the claims are tested on: one number a seed, a test image or a benchmark run."""

import numpy as np
import pandas as pd

from jacexp.report import commands
from jacexp.report.curves import Curves, distances_of
from jacexp.report.paper import METHODS, TABLE1, Experiment
from jacexp.report.select import Choice, Selection, Setting
from jacexp.report.stats import Evidence
from jacexp.report.tables import percent
from jacexp.report.timings import by_method, comparable

PAIRED = "paired t-test by seed"

Measured = tuple[Evidence, pd.Series]
"""What is measured, a leaf without a test yet, and the numbers to test."""


def advantage(selection: Selection, experiment: Experiment, method: str, other: str) -> Measured:
    """Pair two methods by seed: how many points the first is better in Table 1.

    Returns:
        The leaf, with the paper's difference, and the differences by common seed.
    """
    sign, word = (1, "accuracy") if experiment.paper == "P2" else (-1, "error")
    mine, others = (percent(selection.choice(experiment, m)) for m in (method, other))
    terms = f"{method} − {other}" if sign > 0 else f"{other} − {method}"
    cells = TABLE1[experiment.paper][experiment.dataset]
    leaf = Evidence(
        what=f"{experiment.dataset}: {word} of {terms}, points",
        test=PAIRED,
        paper=round(sign * (cells[method].value - cells[other].value), 2) + 0.0,  # no -0
        commands=tuple(commands.train(experiment, m, selection.how) for m in (method, other)),
    )
    return leaf, (sign * (mine - others)).dropna()


def no_difference(experiment: Experiment) -> float:
    """Give what counts as no difference in Table 1: the paper's own deviation of ``none`` over its seeds, points."""
    return TABLE1[experiment.paper][experiment.dataset]["none"].deviation


def drop_difference(curves: Curves, method: str, other: str) -> pd.Series:
    """Give by how many points more a method falls below its clean accuracy than another, by common seed."""
    none = pd.Series(dtype=float)
    return (curves.drops.get(method, none) - curves.drops.get(other, none)).dropna()


def log_times(
    selection: Selection, model: str, methods: tuple[str, ...], batch_size: int | None = None
) -> pd.DataFrame:
    """Give the natural logarithm of each step time over plain.

    Args:
        selection: whose store.
        model: whose steps.
        methods: the columns; a method that was not timed is an empty one.
        batch_size: take this one alone.

    Returns:
        One row a batch size and benchmark run, one column a method.
    """
    times = comparable(selection.store.timing, model, methods)
    if batch_size is not None:
        times = times[times["batch_size"] == batch_size]
    return by_method(times, "ratio").reindex(columns=list(methods)).apply(np.log)


def log_distances(selection: Selection, experiment: Experiment) -> tuple[pd.DataFrame, str]:
    """Give the logarithms of the boundary distances of P2's methods and the name of the test that fits them.

    With two seeds or more a row is a seed: its mean over the test images that all methods classify correctly and
    for all of which a boundary was found. With one network a method, as in the paper, a row is a test image, and the
    test says nothing of other networks.

    Returns:
        One column a method, none without a network of each; and the name of the test.
    """
    wanted = list(METHODS["P2"])
    seeds = sorted({int(s) for m in wanted for s in selection.choice(experiment, m).runs["seed"]})
    tables = {seed: distances_of(selection, experiment, seed) for seed in seeds}
    full = {seed: t[np.isfinite(t).all(axis=1)] for seed, t in tables.items() if set(wanted) <= set(t)}
    log = {seed: pd.DataFrame(np.log(t)) for seed, t in full.items()}
    if len(log) == 1:
        return next(iter(log.values())), "paired t-test by test image, one network a method"
    return pd.DataFrame({seed: t.mean() for seed, t in log.items()}, index=wanted).T, PAIRED


def best_strengths(first: Choice, second: Choice, n_draws: int = 2000) -> tuple[np.ndarray, np.ndarray, int]:
    """Choose two methods' strengths again and again, with the same seeds drawn with replacement for both.

    Returns:
        The chosen strengths of both, (n_draws,) each, and the number of seeds drawn from.
    """
    seeds = sorted(set.intersection(*(set(s.seeds) for c in (first, second) for s in c.settings)))
    draws = np.random.default_rng(0).integers(len(seeds), size=(n_draws, len(seeds)))
    return _strengths(first, seeds, draws), _strengths(second, seeds, draws), len(seeds)


def _strengths(choice: Choice, seeds: list[int], draws: np.ndarray) -> np.ndarray:
    errors = np.stack([_validation_errors(s, seeds) for s in choice.settings])
    best = errors[:, draws].mean(axis=2).argmin(axis=0)
    return np.array([s.strength for s in choice.settings], dtype=float)[best]


def _validation_errors(setting: Setting, seeds: list[int]) -> np.ndarray:
    runs = setting.runs.set_index("seed").loc[seeds]
    errors = 1 - runs["n_val_correct"] / runs["n_val"]
    return errors.where(runs["status"] == "done", np.inf).to_numpy(dtype=float)
