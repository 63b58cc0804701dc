"""The statistics of the report: means over seeds, their intervals, and a small algebra of tests.

A claim is a tree. Its leaves are tests, each with two one-sided p-values: that the claim holds (``p_for``) and that
its opposite holds (``p_against``). `at_least` joins them: r of k parts hold. A leaf without data stays ``not run``.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import stdtrit
from scipy.stats import ttest_1samp

from jacexp.report.paper import Experiment

LEVEL = 0.025
"""The one-sided level of each decision: a claim is decided when a two-sided 95 % interval would decide it."""

Verdict = Literal["confirmed", "refuted", "undecided", "not run"]
VERDICTS = get_args(Verdict)


@dataclass(frozen=True)
class Summary:
    """A sample of one number a seed."""

    n: int
    mean: float
    deviation: float
    """The sample's standard deviation, with n − 1 in the denominator; NaN for n = 1."""
    low: float
    high: float
    """The ends of the 95 % interval of the mean, mean ± t(0.975; n − 1) · deviation / √n; NaN for n = 1."""


def summarize(values: ArrayLike) -> Summary:
    """Summarise a sample of n ≥ 1 numbers by its mean, its deviation and the mean's interval."""
    x = np.asarray(values, dtype=float)
    if len(x) == 1:
        return Summary(1, float(x[0]), np.nan, np.nan, np.nan)
    mean, deviation = float(x.mean()), float(x.std(ddof=1))
    half = float(stdtrit(len(x) - 1, 1 - LEVEL)) * deviation / np.sqrt(len(x))
    return Summary(len(x), mean, deviation, mean - half, mean + half)


@dataclass(frozen=True)
class Evidence:
    """What the stored results say about one claim, or about one part of it."""

    what: str
    """The quantity that is measured, with its unit."""
    test: str
    """The name of the test."""
    paper: float | None = None
    """The paper's number for the same quantity, where it prints one."""
    n: int = 0
    estimate: float = np.nan
    low: float = np.nan
    high: float = np.nan
    """The 95 % interval of the estimate."""
    p_for: float = 1.0
    p_against: float = 1.0
    commands: tuple[str, ...] = ()
    """What produces the input."""
    cells: tuple[tuple[Experiment, str], ...] = ()
    """Whose networks are compared: experiment and method."""
    parts: tuple["Evidence", ...] = ()
    hinges: tuple["Evidence", "Evidence"] | None = None
    """Of a joint claim: the part on which ``p_for`` depends, and the one on which ``p_against`` does."""

    @property
    def leaves(self) -> tuple["Evidence", ...]:
        """The tests at the ends of the tree."""
        return tuple(leaf for part in self.parts for leaf in part.leaves) if self.parts else (self,)

    @property
    def verdict(self) -> Verdict:
        """Refuted or confirmed at `LEVEL`; never confirmed while a part has no data."""
        if self.p_against < LEVEL:
            return "refuted"
        if any(leaf.n == 0 for leaf in self.leaves):
            return "not run"
        return "confirmed" if self.p_for < LEVEL else "undecided"

    @property
    def decisive(self) -> "Evidence":
        """The leaf that a reader should look at first: the one on which the verdict depends, or one that is not run."""
        if self.verdict == "not run":
            return next(leaf for leaf in self.leaves if leaf.n == 0)
        side = 1 if self.verdict == "refuted" else 0
        leaf = self
        while leaf.hinges:
            leaf = leaf.hinges[side]
        return leaf


def greater(leaf: Evidence, sample: ArrayLike, bound: float = 0.0) -> Evidence:
    """Test the claim mean(sample) > bound with a t-test; its opposite is mean(sample) < bound.

    Args:
        leaf: what is measured; a sample of no numbers leaves it as it is, ``not run``.
        sample: (n,), one number a seed, test image or benchmark run.
        bound: in the unit of the sample.

    Returns:
        The leaf with the sample's mean, its interval and both p-values.
    """
    x = np.asarray(sample, dtype=float)
    return _measured(leaf, x, _p(x, bound, "greater"), _p(x, bound, "less"))


def less(leaf: Evidence, sample: ArrayLike, bound: float = 0.0) -> Evidence:
    """Test the claim mean(sample) < bound with a t-test; its opposite is mean(sample) > bound. See `greater`."""
    x = np.asarray(sample, dtype=float)
    return _measured(leaf, x, _p(x, bound, "less"), _p(x, bound, "greater"))


def within(leaf: Evidence, sample: ArrayLike, low: float, high: float) -> Evidence:
    """Test the claim low < mean(sample) < high with two one-sided t-tests (TOST); its opposite is outside."""
    x = np.asarray(sample, dtype=float)
    inside = max(_p(x, low, "greater"), _p(x, high, "less"))
    return _measured(leaf, x, inside, min(_p(x, low, "less"), _p(x, high, "greater")))


def _p(x: np.ndarray, bound: float, alternative: Literal["less", "greater"]) -> float:
    """Return the p-value of Student's t-test that mean(x) is less or greater; 1 where there is no spread."""
    if len(x) < 2 or np.ptp(x) <= 1e-12 * np.abs(x).max():
        return 1.0
    return float(ttest_1samp(x, bound, alternative=alternative).pvalue)


def _measured(leaf: Evidence, x: np.ndarray, p_for: float, p_against: float) -> Evidence:
    if len(x) == 0:
        return leaf
    s = summarize(x)
    return replace(leaf, n=s.n, estimate=s.mean, low=s.low, high=s.high, p_for=p_for, p_against=p_against)


def within_draws(leaf: Evidence, draws: np.ndarray, n: int, low: float, high: float) -> Evidence:
    """Test the claim low < statistic < high with the draws of a bootstrap over n seeds (percentile method).

    Args:
        leaf: what is measured, with its estimate.
        draws: (n_draws,), the statistic of each resample.
        n: how many seeds are resampled.
        low: one end of the claim.
        high: the other.

    Returns:
        The leaf with its interval and both p-values: the shares of the draws that are outside and inside.
    """
    inside = float(np.mean((draws > low) & (draws < high)))
    ends = np.quantile(draws, [LEVEL, 1 - LEVEL])
    p_for, p_against = (1 - inside, inside) if n > 1 else (1.0, 1.0)
    return replace(leaf, n=n, low=float(ends[0]), high=float(ends[1]), p_for=p_for, p_against=p_against)


def exponential(leaf: Evidence) -> Evidence:
    """Convert a leaf that was tested on natural logarithms to the ratio it stands for."""
    return replace(leaf, estimate=np.exp(leaf.estimate), low=np.exp(leaf.low), high=np.exp(leaf.high))


def at_least(r: int, parts: Sequence[Evidence], what: str = "") -> Evidence:
    """Join parts to the claim that at least r of them hold (partial conjunction, Benjamini and Heller 2008, Eq. 4).

    p_for = (k − r + 1) · p_(r), with p_(r) the r-th smallest ``p_for`` of the k parts. That fewer hold means that
    the opposite of at least k − r + 1 holds, so p_against = r · q_(k−r+1). With r = k this is the conjunction: every
    part at its own level (intersection-union test), and a refutation is Holm's first step, k · min q.

    Args:
        r: how many have to hold, 1 … k.
        parts: tests, or claims joined from tests.
        what: the claim in words.

    Returns:
        The joint claim, of which the parts are kept.
    """
    k = len(parts)
    holds = sorted(parts, key=lambda part: part.p_for)[r - 1]
    fails = sorted(parts, key=lambda part: part.p_against)[k - r]
    return Evidence(
        what=what,
        test="; ".join(dict.fromkeys(leaf.test for part in parts for leaf in part.leaves)),
        p_for=min(1.0, (k - r + 1) * holds.p_for),
        p_against=min(1.0, r * fails.p_against),
        parts=tuple(parts),
        hinges=(holds, fails),
    )


def all_of(parts: Sequence[Evidence], what: str = "") -> Evidence:
    """Join parts to the claim that all of them hold."""
    return at_least(len(parts), parts, what)


def any_of(parts: Sequence[Evidence], what: str = "") -> Evidence:
    """Join parts to the claim that one of them holds at least."""
    return at_least(1, parts, what)
