"""The tests of the claims about curves and distances: one number a seed or a test image."""

from collections.abc import Callable, Iterable, Sequence
from itertools import combinations

import numpy as np
import pandas as pd

from jacexp.report import commands
from jacexp.report.comparisons import PAIRED, Measured, Test, no_difference
from jacexp.report.curves import Curves, curves_of, distances_of
from jacexp.report.paper import METHODS, Experiment
from jacexp.report.select import Selection
from jacexp.report.stats import Evidence, all_of, any_of, exponential, greater, less, within


def curve_leaf(
    selection: Selection,
    e: Experiment,
    evaluation: str,
    methods: Sequence[str],
    what: str,
    test: str = PAIRED,
) -> Evidence:
    """Return a leaf without numbers yet about the curves of some methods, with what makes them."""
    needed = commands.train_and_evaluate(evaluation, e, methods, selection.how)
    return Evidence(what, test, commands=needed, cells=tuple((e, m) for m in methods))


def drop_difference(curves: Curves, method: str, other: str) -> pd.Series:
    """Return by how many points more a method falls below its clean accuracy than another, by common seed."""
    none = pd.Series(dtype=float)
    return (curves.drops.get(method, none) - curves.drops.get(other, none)).dropna()


def _rise(selection: Selection, curves: Curves, method: str, other: str) -> Measured:
    what = (
        f"{curves.experiment.dataset}, {curves.evaluation}: mean rise in error of {method} − {other}, points"
    )
    leaf = curve_leaf(selection, curves.experiment, curves.evaluation, (method, other), what)
    return leaf, drop_difference(curves, method, other)


def steeper(evaluation: str, method: str, *others: str) -> Test:
    """Test that a method's error rises more, on the mean over the curve, than that of each of the others."""

    def test(selection: Selection, e: Experiment) -> list[Evidence]:
        curves = curves_of(selection, e, evaluation)
        return [greater(*_rise(selection, curves, method, other)) for other in others]

    return test


def no_steeper(evaluation: str, method: str, other: str) -> Test:
    """Test that a method's error does not rise more than another's by as much as `no_difference`."""

    def test(selection: Selection, e: Experiment) -> list[Evidence]:
        return [less(*_rise(selection, curves_of(selection, e, evaluation), method, other), no_difference(e))]

    return test


def better_everywhere(evaluation: str, method: str, other: str) -> Test:
    """Test that at each epsilon above 0 a method's error is below another's."""
    return _along(evaluation, method, other, all_of, f"{method} is better than {other} at every epsilon")


def worse_somewhere(evaluation: str, method: str, other: str) -> Test:
    """Test that at some epsilon above 0 a method's error is above another's."""
    return _along(evaluation, other, method, any_of, f"{method} is worse than {other} at some epsilon")


def _along(
    evaluation: str, method: str, other: str, join: Callable[[Sequence[Evidence], str], Evidence], claim: str
) -> Test:
    def test(selection: Selection, e: Experiment) -> list[Evidence]:
        curves = curves_of(selection, e, evaluation)
        mine, others = (curves.table(m, "error") for m in (method, other))
        what = f"{e.dataset}, {evaluation}: error of {other} − {method}"
        points = sorted(float(value) for value in set(mine.columns) & set(others.columns) if float(value) > 0)
        leaf = curve_leaf(selection, e, evaluation, (method, other), f"{what}, points")
        parts = [
            greater(
                curve_leaf(selection, e, evaluation, (method, other), f"{what} at epsilon {value:g}, points"),
                (others[value] - mine[value]).dropna(),
            )
            for value in points
        ]
        return [join(parts or [leaf], f"{e.dataset}: {claim}")]

    return test


def _change(selection: Selection, curves: Curves, method: str, other: str) -> Measured:
    """Pair two methods by seed: how many points less the first loses, on the mean over the curve."""
    what = f"{curves.experiment.dataset}, {curves.evaluation}: mean change of accuracy, {method} − {other}, points"
    leaf = curve_leaf(selection, curves.experiment, curves.evaluation, (method, other), what)
    return leaf, drop_difference(curves, other, method)


def alike_under(evaluation: str, bound: float, *methods: str) -> Test:
    """Test that every two methods lose the same accuracy but for a bound in points, on the mean over the curve."""

    def test(selection: Selection, e: Experiment) -> list[Evidence]:
        curves = curves_of(selection, e, evaluation)
        return [
            within(*_change(selection, curves, *pair), low=-bound, high=bound)
            for pair in combinations(methods, 2)
        ]

    return test


def none_dominates(evaluations: Sequence[str], *methods: str) -> Test:
    """Test that each method loses more accuracy than some other under some of the attacks."""

    def test(selection: Selection, e: Experiment) -> list[Evidence]:
        attacks = [curves_of(selection, e, name) for name in evaluations]
        return [
            any_of(
                [
                    greater(*_change(selection, curves, other, method))
                    for curves in attacks
                    for other in methods
                    if other != method
                ],
                f"{e.dataset}: {method} is beaten under some attack",
            )
            for method in methods
        ]

    return test


def strongest_under(evaluations: Sequence[str], method: str, *others: str) -> Test:
    """Test that a method loses less accuracy than each of the others under each of the attacks."""

    def test(selection: Selection, e: Experiment) -> list[Evidence]:
        attacks = [curves_of(selection, e, name) for name in evaluations]
        return [greater(*_change(selection, curves, method, other)) for curves in attacks for other in others]

    return test


def log_distances(selection: Selection, experiment: Experiment) -> tuple[pd.DataFrame, str]:
    """Return the logarithms of the boundary distances of P2's methods and the name of the test that fits them.

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


def _distance_ratios(selection: Selection, e: Experiment, pairs: Iterable[tuple[str, str]]) -> list[Measured]:
    log, test = log_distances(selection, e)
    return [
        (
            curve_leaf(
                selection,
                e,
                "boundary",
                pair,
                f"{e.dataset}: geometric mean distance of {' / '.join(pair)}",
                test,
            ),
            log[pair[0]] - log[pair[1]],
        )
        for pair in pairs
    ]


def farther(methods: Sequence[str], others: Sequence[str]) -> Test:
    """Test that the boundary of each of some methods is farther from the images than that of each of the others."""
    pairs = [(m, other) for m in methods for other in others]
    return lambda selection, e: [exponential(greater(*m)) for m in _distance_ratios(selection, e, pairs)]


def as_far(factor: float, *methods: str) -> Test:
    """Test that the distances of every two methods are the same but for a factor."""
    high, pairs = float(np.log(factor)), list(combinations(methods, 2))

    def test(selection: Selection, e: Experiment) -> list[Evidence]:
        return [exponential(within(*m, low=-high, high=high)) for m in _distance_ratios(selection, e, pairs)]

    return test
