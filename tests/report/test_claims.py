"""Every claim on data in which it holds, in which its opposite holds, in which nobody can tell, and on none."""

from dataclasses import replace

import numpy as np
import pytest

from jacexp.report.measures import best_strengths, log_distances
from jacexp.report.paper import EXPERIMENTS
from jacexp.report.schema import Store
from jacexp.report.scorecard import CLAIMS
from jacexp.report.select import Selection

MNIST, CIFAR_10K = EXPERIMENTS["P1"]
CIFAR, KMNIST, FMNIST = EXPERIMENTS["P2"]

REFUTED_BY_SWAPPING = {
    "P1-a": ("none", "pred_ibp"),
    "P1-b": ("pred_ibp", "loss_ibp"),
    "P1-c": ("at", "tbp"),
    "P1-d": ("tbp", "none"),
    "P1-e": ("loss_ibp", "tbp"),
    "P1-f": ("at", "none"),
    "P1-g": ("none", "tbp"),
    "P1-h": ("none", "pred_ibp"),
    "P2-a": ("spec", "none"),
    "P2-b": ("spec", "none"),
    "P2-c": ("spec", "none"),
    "P2-d": ("spec", "analytical"),
}
"""Two methods whose results, exchanged, contradict the claim."""


def swapped(store: Store, first: str, second: str) -> Store:
    """Exchange the names of two methods in every table."""
    names = {first: second, second: first}
    tables = {n: getattr(store, n) for n in ("runs", "curves", "timing")}
    changed = {n: t.assign(method=t["method"].replace(names)) for n, t in tables.items()}
    # What only one of them is timed with, or has switches for, goes along.
    changed["runs"] = changed["runs"].assign(options="{}")
    changed["timing"] = changed["timing"].assign(
        engine=np.where(changed["timing"]["method"].isin(["none", "analytical"]), "pytorch", "passes")
    )
    return replace(store, **changed)


def only(store: Store, keep) -> Store:
    """Leave some rows of every table; a table without the column that is asked for stays whole."""

    def kept(table):
        return table[np.broadcast_to(np.asarray(keep(table), dtype=bool), len(table))]

    return replace(store, runs=kept(store.runs), curves=kept(store.curves), timing=kept(store.timing))


def evidence(store: Store, claim: str):
    return CLAIMS[claim].test(Selection(store, "holdout"))


@pytest.mark.parametrize("claim", CLAIMS)
def test_a_claim_that_holds_is_confirmed(ideal, claim):
    found = evidence(ideal, claim)
    assert found.verdict == "confirmed", found.decisive
    assert all(part.n > 1 for part in found.leaves)


@pytest.mark.parametrize("claim", CLAIMS)
def test_a_claim_whose_opposite_holds_is_refuted(ideal, claim):
    found = evidence(swapped(ideal, *REFUTED_BY_SWAPPING[claim]), claim)
    assert found.verdict == "refuted", found.decisive
    assert found.decisive.p_against < 0.025


@pytest.mark.parametrize("claim", [c for c in CLAIMS if c not in ("P1-e", "P2-d", "P2-c")])
def test_one_seed_decides_nothing(ideal, claim):
    found = evidence(only(ideal, lambda t: t.get("seed", 0) == 0), claim)
    assert found.verdict == "undecided"


@pytest.mark.parametrize("claim", ["P1-e", "P2-d"])
def test_one_benchmark_decides_nothing(ideal, claim):
    once = ideal.timing.drop_duplicates(["model", "method"])
    found = evidence(replace(ideal, timing=once), claim)
    assert found.verdict == "undecided"


@pytest.mark.parametrize("claim", CLAIMS)
def test_without_data_a_claim_is_not_run(ideal, claim):
    found = evidence(only(ideal, lambda t: np.zeros(len(t), dtype=bool)), claim)
    assert found.verdict == "not run"
    assert all(leaf.n == 0 for leaf in found.leaves)
    assert all(leaf.commands for leaf in found.leaves)


@pytest.mark.parametrize(
    ("claim", "gone"),
    [
        ("P1-a", lambda t: t["method"] == "tbp"),
        ("P1-b", lambda t: t.get("dataset") == "cifar10"),
        ("P1-c", lambda t: t.get("epsilon") == 0.3),  # a grid that is not searched to its end
        ("P1-d", lambda t: t["method"] == "fast_tbp"),
        ("P1-e", lambda t: t["method"] == "at"),
        ("P1-f", lambda t: t["method"] == "loss_ibp"),
        ("P1-g", lambda t: t["method"] == "at"),
        ("P1-h", lambda t: t.get("augment") == "affine"),
        ("P2-a", lambda t: t.get("dataset") == "kmnist"),
        ("P2-b", lambda t: t.get("eval") == "square"),
        ("P2-c", lambda t: (t.get("dataset") == "kmnist") & (t["method"] == "l2")),
        ("P2-d", lambda t: t.get("statistic") == "bound_reshaped_error"),
    ],
)
def test_with_a_part_missing_nothing_is_filled_in(ideal, claim, gone):
    found = evidence(only(ideal, lambda t: ~np.asarray(gone(t), dtype=bool)), claim)
    assert found.verdict == "not run"
    assert found.decisive.n == 0


def test_a_refuted_part_is_enough_without_the_others(ideal):
    mnist = only(swapped(ideal, "pred_ibp", "loss_ibp"), lambda t: t.get("dataset", "mnist") == "mnist")
    assert evidence(mnist, "P1-b").verdict == "refuted"


def test_the_papers_own_numbers_stand_beside_ours(ideal):
    parts = evidence(ideal, "P1-a").parts
    assert parts[0].what == "mnist: error of none − pred_ibp, points"
    assert parts[0].paper == 0.31
    assert parts[0].estimate == pytest.approx(0.31, abs=0.02)
    assert [p.paper for p in evidence(ideal, "P1-e").parts[:2]] == [1.49, 1.75]
    assert evidence(ideal, "P2-a").parts[0].paper == 0.22


def test_distances_are_paired_by_seed_or_by_image_if_there_is_one_network(ideal):
    by_seed, test = log_distances(Selection(ideal, "holdout"), FMNIST)
    assert (by_seed.index.tolist(), test) == ([0, 1, 2, 3, 4], "paired t-test by seed")
    one = only(ideal, lambda t: t.get("seed", 0) == 0)
    by_image, test = log_distances(Selection(one, "holdout"), FMNIST)
    assert (len(by_image), test) == (20, "paired t-test by test image, one network a method")


def test_the_bootstrap_gives_the_same_draws_every_time_and_pairs_the_seeds(ideal):
    chosen = Selection(ideal, "holdout")
    at, fast = chosen.choice(MNIST, "at"), chosen.choice(MNIST, "fast_at")
    first, second, n = best_strengths(at, fast)
    again = best_strengths(at, fast)
    assert n == 10
    assert np.array_equal(first, again[0])
    assert np.array_equal(second, again[1])
    assert set(first) == {0.05}
    same, twin, _ = best_strengths(at, at)
    assert np.array_equal(same, twin)
