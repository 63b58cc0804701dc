"""The tests of the claims about cost: one number a benchmark run, or a seed where the norm's error is measured."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from jacexp.report import commands
from jacexp.report.comparisons import Test
from jacexp.report.curve_comparisons import curve_leaf
from jacexp.report.curves import error_curves
from jacexp.report.paper import METHODS, P1_BATCH, TABLE1, Experiment
from jacexp.report.select import Selection
from jacexp.report.stats import Evidence, exponential, greater, less, within
from jacexp.report.timings import by_method, comparable


def log_times(
    selection: Selection, model: str, methods: Sequence[str], batch_size: int | None = None
) -> pd.DataFrame:
    """Return the natural logarithm of each step time over plain.

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


def time_ratio(slow: str, fast: str, margin: float | None = None, over: float | None = None) -> Test:
    """Return the test of the time of a step of one method over another's, on the experiment's network in P1's batches.

    Args:
        slow: the numerator.
        fast: the denominator.
        margin: the ratio is the paper's but for this factor; or
        over: the ratio is more than this.

    Returns:
        The test, on logarithms.
    """

    def test(selection: Selection, e: Experiment) -> list[Evidence]:
        cells = TABLE1["P1"][e.dataset]
        theirs = float(cells[slow].seconds or np.nan) / float(cells[fast].seconds or np.nan)
        leaf = Evidence(
            what=f"{e.model}: time of a step of {slow} / {fast}",
            test="t-test of the log ratio over benchmark runs",
            paper=round(theirs, 2),
            commands=(commands.benchmark(e.model),),
        )
        log = log_times(selection, e.model, METHODS["P1"], batch_size=P1_BATCH)
        # `ratio` is to plain already.
        ratio = (log[slow] if fast == "none" else log[slow] - log[fast]).dropna()
        if over is not None:
            return [exponential(greater(leaf, ratio, float(np.log(over))))]
        ends = np.log([theirs / float(margin or 1), theirs * float(margin or 1)])
        return [exponential(within(leaf, ratio, low=float(ends[0]), high=float(ends[1])))]

    return test


def faster(slow: str, fast: str, paper: float, low: float, high: float) -> Test:
    """Test that a step of one method takes low to high times as long as one of another, over all batch sizes."""

    def test(selection: Selection, e: Experiment) -> list[Evidence]:
        log = log_times(selection, e.model, (fast, slow))
        leaf = Evidence(
            what=f"{e.model}: time of a step of {slow} / {fast}",
            test="t-test of the log ratio over batch sizes and benchmark runs",
            paper=paper,
            commands=(commands.benchmark(e.model),),
        )
        ratio = (log[slow] - log[fast]).dropna()
        return [exponential(within(leaf, ratio, low=float(np.log(low)), high=float(np.log(high))))]

    return test


def error_falls(quickly: float, far_below: float) -> Test:
    """Test on Figure 5's right panel that the relative error falls quickly and is far below the bound's.

    Args:
        quickly: the error after 5 power iterations is less than this share of that after 1.
        far_below: the error after 1 is less than this share of the bound's.

    Returns:
        The test, on logarithms.
    """

    def test(selection: Selection, _: Experiment) -> list[Evidence]:
        curves = error_curves(selection)
        table = curves.iterations.table("spec", "mean").reindex(columns=[1.0, 5.0])
        after_1, after_5 = (pd.Series(table[k], dtype=float).apply(np.log) for k in (1.0, 5.0))
        name, methods = curves.experiment.dataset, ("spec", "spec_bound")
        whats = (
            f"{name}: relative error after 5 power iterations / after 1",
            f"{name}: relative error after 1 power iteration / the bound's",
        )
        by_seed = "paired t-test of the log ratio by seed"
        falls, far = (
            curve_leaf(selection, curves.experiment, "jacobian", methods, what, by_seed) for what in whats
        )
        below = (after_1 - curves.bound.apply(np.log)).dropna()
        return [
            exponential(less(falls, (after_5 - after_1).dropna(), float(np.log(quickly)))),
            exponential(less(far, below, float(np.log(far_below)))),
        ]

    return test
