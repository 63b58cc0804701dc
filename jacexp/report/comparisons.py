"""The tests of the claims about Table 1 and about the size of the training set: one number a seed.

Each function here returns a `Test`, which a claim applies to the experiments that it is about.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd

from jacexp.report import commands
from jacexp.report.curves import size_table
from jacexp.report.paper import SIZE_METHODS, SIZES, TABLE1, Experiment, grid_size, size_experiment
from jacexp.report.select import Choice, Selection, Setting, percent
from jacexp.report.stats import Evidence, at_least, greater, less, within, within_draws

Test = Callable[[Selection, Experiment], list[Evidence]]
"""Maps the stored runs and an experiment to the parts of a claim."""

Measured = tuple[Evidence, pd.Series]
"""What is measured, a leaf without a test yet, and the numbers to test."""

PAIRED = "paired t-test by seed"


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
        cells=((experiment, method), (experiment, other)),
    )
    return leaf, (sign * (mine - others)).dropna()


def no_difference(experiment: Experiment) -> float:
    """Return what counts as no difference in Table 1: the paper's own deviation of ``none`` over its seeds, points."""
    return TABLE1[experiment.paper][experiment.dataset]["none"].deviation


def better(method: str, *others: str) -> Test:
    """Test that a method is better in Table 1 than each of the others."""
    return lambda selection, e: [greater(*advantage(selection, e, method, other)) for other in others]


def better_than_most(method: str, *others: str) -> Test:
    """Test that a method is better in Table 1 than all of the others but one, at least."""

    def test(selection: Selection, e: Experiment) -> list[Evidence]:
        r, k = len(others) - 1, len(others)
        above = f"{e.dataset}: {method} is above at least {r} of the {k} others"
        return [at_least(r, better(method, *others)(selection, e), above)]

    return test


def no_better(method: str, other: str) -> Test:
    """Test that a method is not better in Table 1 than another by as much as `no_difference`."""
    return lambda selection, e: [less(*advantage(selection, e, method, other), no_difference(e))]


def same(method: str, other: str) -> Test:
    """Test that two methods differ in Table 1 by less than `no_difference`."""

    def test(selection: Selection, e: Experiment) -> list[Evidence]:
        d = no_difference(e)
        return [within(*advantage(selection, e, method, other), low=-d, high=d)]

    return test


def by_far(method: str, factor: float, *others: str) -> Test:
    """Test (error(none) − error(method)) − factor · (error(none) − error(other)) > 0 for each of the others."""

    def test(selection: Selection, e: Experiment) -> list[Evidence]:
        first, gain = advantage(selection, e, method, "none")
        parts = []
        for other in others:
            second, its_gain = advantage(selection, e, other, "none")
            leaf = replace(
                first,
                what=f"{e.dataset}: gain of {method} over none − {factor:g} × gain of {other}, points of error",
                paper=round(float(first.paper or 0) - factor * float(second.paper or 0), 2),
                commands=(*first.commands, *second.commands),
                cells=(*first.cells, *second.cells),
            )
            parts.append(greater(leaf, (gain - factor * its_gain).dropna()))
        return parts

    return test


MIN_STRENGTHS, MIN_SEEDS = 4, 2


def ratio_of_best(method: str, other: str, low: float, high: float) -> Test:
    """Return the test that the best strength of a method is low to high times that of another.

    `MIN_STRENGTHS` strengths around the paper's with `MIN_SEEDS` seeds each are enough; the part says how many there
    were. Where the best is at an end of what was searched, and the grid goes on, nothing is concluded.
    """

    def test(selection: Selection, e: Experiment) -> list[Evidence]:
        cells = TABLE1[e.paper][e.dataset]
        leaf = Evidence(
            what=f"{e.dataset}: best epsilon of {method} / best epsilon of {other}",
            test="bootstrap of the selection over seeds",
            paper=round(float(cells[method].strength or np.nan) / float(cells[other].strength or np.nan), 2),
            commands=tuple(commands.train(e, m, selection.how) for m in (method, other)),
            cells=((e, method), (e, other)),
        )
        first, second = (searched(selection.choice(e, m)) for m in (method, other))
        seeds = (
            sorted(set.intersection(*(set(s.seeds) for s in (*first, *second)))) if first and second else []
        )
        if len(seeds) < MIN_SEEDS:
            return [leaf]
        best = [best_strengths(settings, seeds, n_draws=0) for settings in (first, second)]
        sizes = [grid_size(e, m) for m in (method, other)]
        if any(_at_open_end(b[0], s, n) for b, s, n in zip(best, (first, second), sizes, strict=True)):
            return [leaf]
        numbers = f"{len(first)} of {sizes[0]} and {len(second)} of {sizes[1]} strengths searched"
        leaf = replace(leaf, what=f"{leaf.what} ({numbers})", estimate=float(best[0][0] / best[1][0]))
        draws = best_strengths(first, seeds) / best_strengths(second, seeds)
        return [within_draws(leaf, draws, len(seeds), low, high)]

    return test


def searched(choice: Choice) -> list[Setting]:
    """Return the settings among which a best strength is told; none if they are too few or not around the paper's."""
    settings = [s for s in choice.settings if len(s.seeds) >= MIN_SEEDS and s.strength is not None]
    strengths = [float(s.strength or 0) for s in settings]
    e = choice.experiment
    papers = float(TABLE1[e.paper][e.dataset][choice.method].strength or 0)
    around = bool(strengths) and min(strengths) < papers < max(strengths)
    return settings if around and len(set(strengths)) >= MIN_STRENGTHS else []


def _at_open_end(best: float, settings: list[Setting], size: int) -> bool:
    strengths = [float(s.strength or 0) for s in settings]
    return len(strengths) < size and best in (min(strengths), max(strengths))


def best_strengths(settings: list[Setting], seeds: list[int], n_draws: int = 2000) -> np.ndarray:
    """Choose a method's strength again and again, from its validation errors under seeds drawn with replacement.

    Args:
        settings: with the seeds.
        seeds: drawn from; equal seeds and numbers give equal draws, so that two methods are paired.
        n_draws: how often; 0 chooses once, from the seeds as they are.

    Returns:
        The chosen strengths, (n_draws,), or (1,).
    """
    n = len(seeds)
    draws = np.random.default_rng(0).integers(n, size=(n_draws, n)) if n_draws else np.arange(n)[None]
    errors = np.stack([_validation_errors(s, seeds) for s in settings])
    best = errors[:, draws].mean(axis=2).argmin(axis=0)
    return np.array([s.strength for s in settings], dtype=float)[best]


def _validation_errors(setting: Setting, seeds: list[int]) -> np.ndarray:
    runs = setting.runs.set_index("seed").loc[seeds]
    errors = 1 - runs["n_val_correct"] / runs["n_val"]
    return errors.where(runs["status"] == "done", np.inf).to_numpy(dtype=float)


def relative_gains(selection: Selection, *, augmented: bool) -> pd.DataFrame:
    """Return 100 · (error(none) − error(pred_ibp)) / error(none), of the seeds and sizes of Figure 4 that are stored.

    Returns:
        One row a seed that has every size, one column a size that `MIN_SEEDS` seeds have.
    """
    table = size_table(selection, augmented=augmented)
    none, pred = (
        table[table["method"] == m].pivot_table("error", "seed", "size").reindex(columns=list(SIZES))
        for m in SIZE_METHODS
    )
    gains = 100 * (none - pred) / none
    return gains.dropna(axis="columns", thresh=MIN_SEEDS).dropna()


def _size_leaf(selection: Selection, what: str, test: str, *augmented: bool) -> Evidence:
    smallest = {a: size_experiment(SIZES[0], augmented=a) for a in augmented}
    return Evidence(
        what=what,
        test=test,
        commands=tuple(
            commands.train_sizes(m, SIZES, e, selection.how) for e in smallest.values() for m in SIZE_METHODS
        ),
        cells=tuple(
            (size_experiment(size, augmented=a), m) for a in augmented for size in SIZES for m in SIZE_METHODS
        ),
    )


def gain_falls_with_size(selection: Selection, _: Experiment) -> list[Evidence]:
    """Test that the relative gain falls: the slope of each seed's line in log10(size), over a factor 10 of sizes."""
    gains = relative_gains(selection, augmented=False)
    sizes = [int(size) for size in gains.columns]
    leaf = _size_leaf(
        selection,
        "slope of the relative gain of pred_ibp, % per factor 10 in training images",
        "t-test of the slopes by seed",
        False,
    )
    leaf = replace(leaf, paper=round((18 - 43) / float(np.log10(SIZES[-1] / SIZES[0])), 1))
    if len(sizes) < 3 or sizes[-1] < 10 * sizes[0] or gains.empty:
        return [leaf]
    if len(sizes) < len(SIZES):
        leaf = replace(leaf, what=f"{leaf.what} ({sizes[0]:,} to {sizes[-1]:,})")
    return [less(leaf, np.polyfit(np.log10(sizes), gains.T.to_numpy(), 1)[0])]


def gain_under_augmentation(selection: Selection, _: Experiment) -> list[Evidence]:
    """Test that with augmentation the gain is smaller, over the sizes that both have, and not zero at the largest."""
    plain, augmented = (relative_gains(selection, augmented=a) for a in (False, True))
    common = [size for size in augmented if size in plain]
    smaller = _size_leaf(
        selection, "mean relative gain of pred_ibp with − without augmentation, %", PAIRED, False, True
    )
    largest = SIZES[-1] if augmented.empty else int(augmented.columns[-1])
    left = _size_leaf(
        selection, f"relative gain of pred_ibp with augmentation at {largest:,} images, %", PAIRED, True
    )
    both = (augmented[common].mean(axis="columns") - plain[common].mean(axis="columns")).dropna()
    gains = pd.Series(dtype=float) if augmented.empty else augmented[largest]
    return [less(smaller, both), greater(left, gains)]
