"""P2's claims, each as a test over the stored tables.

What is no number in the paper is made one here, by name: see the constants.
"""

from itertools import combinations

import numpy as np
import pandas as pd

from jacexp.report import commands
from jacexp.report.claim import Claim
from jacexp.report.curves import Curves, curves_of
from jacexp.report.figure_cost import error_curves
from jacexp.report.measures import PAIRED, Measured, advantage, drop_difference, log_distances, log_times
from jacexp.report.paper import EXPERIMENTS, METHODS, Experiment
from jacexp.report.select import Selection
from jacexp.report.stats import Evidence, all_of, any_of, at_least, exponential, greater, less, within

CIFAR, KMNIST, FMNIST = EXPERIMENTS["P2"]
ALL = METHODS["P2"]
REST = tuple(m for m in ALL if m != "spec")
REGULARISED = tuple(m for m in ALL if m != "none")
ATTACKS = ("pgd", "tpgd", "square")

LITTLE = 5.0
"""A difference under white noise is little: below so many points of accuracy, on the mean over the curve."""

ALIKE = 1.1
"""Distances are alike if their geometric means differ by less than this factor."""

HUNDREDFOLD = (10**1.5, 10**2.5)
"""About 100 times faster: within half an order of magnitude."""

QUICKLY = 0.5
"""The relative error falls quickly: after 5 power iterations it is less than this share of that after 1."""

FAR_BELOW = 0.1
"""The relative error after 1 power iteration is far below the bound's: less than this share of it."""


def p2_a(selection: Selection) -> Evidence:
    """Test that spec is best on KMNIST and FashionMNIST, and second or first on CIFAR-10."""
    best = [greater(*advantage(selection, e, "spec", other)) for e in (KMNIST, FMNIST) for other in REST]
    cifar = [greater(*advantage(selection, CIFAR, "spec", other)) for other in REST]
    second = at_least(len(REST) - 1, cifar, "cifar10: spec is above at least 3 of the 4 others")
    return all_of([*best, second])


def p2_b(selection: Selection) -> Evidence:
    """Test on Figure 3's curves: little difference under noise, no method dominates, spec leads on KMNIST."""
    noise = [curves_of(selection, e, "white_noise") for e in (KMNIST, FMNIST)]
    attacks = {(e, a): curves_of(selection, e, a) for e in (KMNIST, FMNIST) for a in ATTACKS}
    little = [
        within(*_stronger(selection, curves, *pair), low=-LITTLE, high=LITTLE)
        for curves in noise
        for pair in combinations(ALL, 2)
    ]
    beaten = [
        any_of(_beaten(selection, attacks, m), f"{m} is beaten under some attack on some set") for m in ALL
    ]
    leads = [
        greater(*_stronger(selection, attacks[KMNIST, a], "spec", other))
        for a in ("pgd", "tpgd")
        for other in REST
    ]
    return all_of([all_of(little, "differences under white noise"), *beaten, *leads])


def _beaten(
    selection: Selection, attacks: dict[tuple[Experiment, str], Curves], method: str
) -> list[Evidence]:
    return [
        greater(*_stronger(selection, curves, other, method))
        for curves in attacks.values()
        for other in ALL
        if other != method
    ]


def _stronger(selection: Selection, curves: Curves, method: str, other: str) -> Measured:
    """Pair two methods by seed: how many points less the first loses, on the mean over the curve."""
    experiment, evaluation = curves.experiment, curves.evaluation
    leaf = Evidence(
        what=f"{experiment.dataset}, {evaluation}: mean change of accuracy, {method} − {other}, points",
        test=PAIRED,
        commands=commands.train_and_evaluate(evaluation, experiment, (method, other), selection.how),
    )
    return leaf, drop_difference(curves, other, method)


def p2_c(selection: Selection) -> Evidence:
    """Test on Figure 4's distances that spec and frob enlarge regions on FashionMNIST; alike on KMNIST."""
    larger = [(m, other) for m in ("spec", "frob") for other in ("none", "l2", "spec_bound")]
    low, high = -float(np.log(ALIKE)), float(np.log(ALIKE))
    parts = [greater(*measured) for measured in _distance_ratios(selection, FMNIST, larger)]
    alike = list(combinations(REGULARISED, 2))
    parts += [
        within(*measured, low=low, high=high) for measured in _distance_ratios(selection, KMNIST, alike)
    ]
    return all_of([exponential(part) for part in parts])


def _distance_ratios(
    selection: Selection, experiment: Experiment, pairs: list[tuple[str, str]]
) -> list[Measured]:
    log, test = log_distances(selection, experiment)
    measured = []
    for first, second in pairs:
        what = f"{experiment.dataset}: geometric mean distance of {first} / {second}"
        needed = commands.train_and_evaluate("boundary", experiment, (first, second), selection.how)
        measured.append((Evidence(what, test, commands=needed), log[first] - log[second]))
    return measured


def p2_d(selection: Selection) -> Evidence:
    """Test that spec is about 100 times faster than the exact norm, and its error small against the bound's."""
    log = log_times(selection, "lenet", ("spec", "analytical"))
    leaf = Evidence(
        what="lenet: time of a step of analytical / spec",
        test="t-test of the log ratio over batch sizes and benchmark runs",
        paper=100.0,
        commands=(commands.benchmark("lenet"),),
    )
    low, high = map(float, np.log(HUNDREDFOLD))
    faster = within(leaf, (log["analytical"] - log["spec"]).dropna(), low=low, high=high)
    return all_of([exponential(part) for part in (faster, *_errors(selection))])


def _errors(selection: Selection) -> tuple[Evidence, Evidence]:
    curves = error_curves(selection)
    table = curves.iterations.table("spec", "mean").reindex(columns=[1.0, 5.0])
    after_1, after_5 = (pd.Series(table[k], dtype=float).apply(np.log) for k in (1.0, 5.0))
    bound = curves.bound.apply(np.log)
    test, e = "paired t-test of the log ratio by seed", curves.experiment
    needed = commands.train_and_evaluate("jacobian", e, ("spec", "spec_bound"), selection.how)
    falls = Evidence(f"{e.dataset}: relative error after 5 power iterations / after 1", test, commands=needed)
    far = Evidence(
        f"{e.dataset}: relative error after 1 power iteration / the bound's", test, commands=needed
    )
    return (
        less(falls, (after_5 - after_1).dropna(), float(np.log(QUICKLY))),
        less(far, (after_1 - bound).dropna(), float(np.log(FAR_BELOW))),
    )


CLAIMS = {
    "P2-a": Claim(
        where="Table 1, Section 4.1",
        text="spec is best on KMNIST and FashionMNIST and significantly above spec_bound; "
        "second or first on CIFAR-10",
        paper="96.61, 91.10, 90.20 %; spec_bound 95.72, 90.66, 89.37 %",
        test=p2_a,
    ),
    "P2-b": Claim(
        where="Figure 3, Section 4.2",
        text="little difference under white noise; no method dominates under attack; "
        "spec is strongest on KMNIST under PGD and TPGD",
        paper="curves",
        test=p2_b,
    ),
    "P2-c": Claim(
        where="Figure 4, Section 4.2.3",
        text="spec and frob enlarge the regions on FashionMNIST; on KMNIST all regularised methods are alike",
        paper="distributions",
        test=p2_c,
    ),
    "P2-d": Claim(
        where="Figure 5, Section 4.3",
        text="spec is about 100 times faster than the analytical norm; its relative error falls quickly and is far "
        "below the bound's",
        paper="two orders of magnitude; curves",
        test=p2_d,
    ),
}
