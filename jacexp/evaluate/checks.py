"""Self-checks: signs that an attack says more about itself than about the network."""

import json
import math

import pandas as pd
from torch import Tensor
from torch.nn import functional as F

TOLERATED = 0.01
"""The fraction of samples with a vanished gradient that raises no flag."""

Z = 3.0
"""Standard deviations beyond which a difference is no accident."""

COMPARED = (
    ("pgd", "square", "black_box_stronger"),
    ("autoattack", "pgd", "weaker_than_pgd"),
    ("autoattack_quick", "pgd", "weaker_than_pgd"),
)
"""An attack, another that should not leave fewer samples right, and the flag if it does."""


def flags(*names: str) -> str:
    """Join the flags that are raised, with ``;``; those not raised are empty."""
    return ";".join(name for name in names if name)


def weaker_than_noise(under_attack: Tensor, under_noise: Tensor) -> str:
    """Raise a flag if random noise of the attack's size fools more samples than the attack does.

    With a the samples that survive the attack alone and b those that survive the noise alone, the flag is raised for
    a − b > 3√(a + b): each sample on which the two differ would be a coin's toss.

    Args:
        under_attack: which samples stay right, (N,) bool.
        under_noise: the same under the noise, (N,) bool.

    Returns:
        ``weaker_than_noise``, or nothing.
    """
    a = int((under_attack & ~under_noise).sum())
    b = int((under_noise & ~under_attack).sum())
    return "weaker_than_noise" if a - b > Z * math.sqrt(a + b) else ""


def vanished(gradient: Tensor, logits: Tensor, y: Tensor) -> Tensor:
    """Return which samples give an attack on the cross-entropy no honest gradient.

    Either it is zero in every pixel, or the loss is exactly 0 in this float type: softmax gives the true class all of
    the probability, and p − y has lost that class's part.

    Args:
        gradient: by the pixels, (B, *in).
        logits: at the same points, (B, C).
        y: labels, (B,).

    Returns:
        (B,) bool.
    """
    saturated = F.cross_entropy(logits, y, reduction="none") == 0
    return saturated | (gradient.flatten(1) == 0).all(dim=1)


def zero_gradient(vanished: Tensor) -> str:
    """Raise a flag with the number of vanished gradients, (N,) bool, if it is more than 1 % of the samples."""
    n = int(vanished.sum())
    return f"zero_gradient={n}" if n > TOLERATED * vanished.numel() else ""


def cross_checks(curves: pd.DataFrame) -> pd.DataFrame:
    """Raise flags that compare the evaluations of a run with each other.

    ``black_box_stronger`` on the last point of PGD where Square, which has no gradient, leaves fewer samples right in
    the same ball; ``weaker_than_pgd`` on AutoAttack where PGD does. Fewer means by more than 3 standard errors of the
    difference of two proportions.

    Args:
        curves: points with the columns ``run`` and ``eval`` beside those of a point.

    Returns:
        A copy with the flags added to ``check``; flags that are there already are not added again.
    """
    curves = curves.copy()
    attacks = curves[curves["eval"].isin([name for pair in COMPARED for name in pair[:2]])]
    attacks = attacks.assign(
        delta=attacks["settings"].map(lambda text: json.loads(text)["delta"]), row=attacks.index
    )
    last = attacks.loc[attacks.groupby(["run", "delta", "eval"])["value"].idxmax()]
    for attack, stronger, flag in COMPARED:
        here, there = last[last["eval"] == attack], last[last["eval"] == stronger]
        pairs = here.merge(there, on=["run", "delta"], suffixes=("", "_there"))
        p, q = pairs["n_correct"] / pairs["n"], pairs["n_correct_there"] / pairs["n_there"]
        variance = p * (1 - p) / pairs["n"] + q * (1 - q) / pairs["n_there"]
        weak = pairs.loc[p - q > Z * variance**0.5, "row"]
        curves.loc[weak, "check"] = [_with_flag(check, flag) for check in curves.loc[weak, "check"]]
    return curves


def _with_flag(check: object, flag: str) -> str:
    """Add a flag to those of a row, of which a table read from CSV has NaN where there are none."""
    raised = check.split(";") if isinstance(check, str) else []
    return flags(*raised) if flag in raised else flags(*raised, flag)
