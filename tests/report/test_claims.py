"""Every claim on data in which it holds, in which its opposite holds, in which nobody can tell, and on none."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from jacexp.report.claims import ROWS
from jacexp.report.comparisons import best_strengths
from jacexp.report.curve_comparisons import log_distances
from jacexp.report.paper import EXPERIMENTS, switches
from jacexp.report.schema import Store
from jacexp.report.select import Selection

MNIST, CIFAR_10K = EXPERIMENTS["P1"]
CIFAR, KMNIST, FMNIST = EXPERIMENTS["P2"]


def swapped(store: Store, first: str, second: str) -> Store:
    """Exchange the names of two methods in every table."""
    names = {first: second, second: first}
    tables = {n: getattr(store, n) for n in ("runs", "curves", "timing")}
    changed = {n: t.assign(method=t["method"].replace(names)) for n, t in tables.items()}
    # What only one of them is timed with, or has switches for, goes along.
    usual = [json.dumps(switches(method)) for method in changed["runs"]["method"]]
    changed["runs"] = changed["runs"].assign(options=usual)
    changed["timing"] = changed["timing"].assign(
        engine=np.where(changed["timing"]["method"].isin(["none", "analytical"]), "pytorch", "passes")
    )
    return replace(store, **changed)


def only(store: Store, keep) -> Store:
    """Leave some rows of every table; a table without the column that is asked for stays whole."""

    def kept(table):
        return table[np.broadcast_to(np.asarray(keep(table), dtype=bool), len(table))]

    return replace(store, runs=kept(store.runs), curves=kept(store.curves), timing=kept(store.timing))


def under(store: Store, evaluation: str, other: str) -> Store:
    """Put the curves of another evaluation in the place of one's own."""
    curves = store.curves[store.curves["eval"] != evaluation]
    moved = curves[curves["eval"] == other].assign(eval=evaluation)
    return replace(store, curves=pd.concat([curves, moved], ignore_index=True))


def slow_power_iteration(store: Store) -> Store:
    later = (store.curves["statistic"] == "relative_error") & (store.curves["value"] == 5)
    return replace(store, curves=store.curves.assign(mean=store.curves["mean"].where(~later, 0.3)))


def evidence(store: Store, claim: str):
    return ROWS[claim].test(Selection(store, "holdout"))


def swap(first: str, second: str):
    return lambda store: swapped(store, first, second)


CONTRADICTED = {
    "P1-a": swap("none", "pred_ibp"),
    "P1-a/cifar10": swap("at", "tbp"),
    "P1-b": swap("pred_ibp", "loss_ibp"),
    "P1-c": swap("at", "tbp"),
    "P1-c-epsilon": swap("at", "fast_at"),
    "P1-d": swap("tbp", "none"),
    "P1-d/mnist": swap("none", "pred_ibp"),
    "P1-e-loss_ibp": swap("loss_ibp", "tbp"),
    "P1-e-pred_ibp": swap("pred_ibp", "tbp"),
    "P1-e-fast_at": swap("at", "tbp"),
    "P1-e-fast_tbp": swap("tbp", "at"),
    "P1-f-at": swap("at", "none"),
    "P1-f-tbp": swap("none", "tbp"),
    "P1-g-none": swap("none", "tbp"),
    "P1-g-tbp": swap("none", "tbp"),
    "P1-h": swap("none", "pred_ibp"),
    "P1-h-augmented": swap("none", "pred_ibp"),
    "P2-a": swap("spec", "none"),
    "P2-b-noise": lambda store: under(store, "white_noise", "pgd"),
    "P2-b-attack": lambda store: under(store, "square", "pgd"),
    "P2-b-spec": swap("spec", "none"),
    "P2-c": swap("spec", "none"),
    "P2-d-time": swap("spec", "analytical"),
    "P2-d-error": slow_power_iteration,
}
"""What makes each claim wrong, by its id or that of one row."""

TIMES = [id_ for id_ in ROWS if id_.startswith(("P1-e", "P2-d-time"))]
TWO_SEEDS = ("P1-c-epsilon/mnist", "P1-h/mnist", "P1-h-augmented/mnist")
"""Claims that take two seeds to be looked at."""


@pytest.mark.parametrize("claim", ROWS)
def test_a_claim_that_holds_is_confirmed(ideal, claim):
    found = evidence(ideal, claim)
    assert found.verdict == "confirmed", found.decisive
    assert all(part.n > 1 for part in found.leaves)


@pytest.mark.parametrize("claim", ROWS)
def test_a_claim_whose_opposite_holds_is_refuted(ideal, claim):
    contradict = CONTRADICTED.get(claim) or CONTRADICTED[claim.split("/")[0]]
    found = evidence(contradict(ideal), claim)
    assert found.verdict == "refuted", found.decisive
    assert found.decisive.p_against < 0.025


@pytest.mark.parametrize("claim", [id_ for id_ in ROWS if id_ not in TIMES and not id_.startswith("P2-c")])
def test_one_seed_decides_nothing(ideal, claim):
    found = evidence(only(ideal, lambda t: t.get("seed", 0) == 0), claim)
    assert found.verdict == ("not run" if claim in TWO_SEEDS else "undecided")


@pytest.mark.parametrize("claim", TIMES)
def test_one_benchmark_decides_nothing(ideal, claim):
    once = ideal.timing.drop_duplicates(["model", "method"])
    found = evidence(replace(ideal, timing=once), claim)
    assert found.verdict == "undecided"


@pytest.mark.parametrize("claim", ROWS)
def test_without_data_a_claim_is_not_run(ideal, claim):
    found = evidence(only(ideal, lambda t: np.zeros(len(t), dtype=bool)), claim)
    assert found.verdict == "not run"
    assert all(leaf.n == 0 for leaf in found.leaves)
    assert all(leaf.commands for leaf in found.leaves)
    assert all(leaf.cells for leaf in found.leaves) == (claim not in TIMES)


@pytest.mark.parametrize(
    ("claim", "gone"),
    [
        ("P1-a/mnist", lambda t: t["method"] == "tbp"),
        ("P1-b/cifar10", lambda t: t.get("dataset") == "cifar10"),
        ("P1-c-epsilon/mnist", lambda t: t.get("epsilon", 0) > 0.05),  # searched to the paper's value alone
        ("P1-d/mnist", lambda t: t["method"] == "fast_tbp"),
        ("P1-e-fast_at/convnet_mnist", lambda t: t["method"] == "at"),
        ("P1-f-at/mnist", lambda t: t["method"] == "loss_ibp"),
        ("P1-g-tbp/cifar10", lambda t: t["method"] == "at"),
        ("P1-h-augmented/mnist", lambda t: t.get("augment") == "affine"),
        ("P2-a/kmnist", lambda t: t.get("dataset") == "kmnist"),
        ("P2-b-attack/fmnist", lambda t: t.get("eval") == "square"),
        ("P2-c/kmnist", lambda t: (t.get("dataset") == "kmnist") & (t["method"] == "l2")),
        ("P2-d-error/lenet", lambda t: t.get("statistic") == "bound_reshaped_error"),
    ],
)
def test_with_a_part_missing_nothing_is_filled_in(ideal, claim, gone):
    found = evidence(only(ideal, lambda t: ~np.asarray(gone(t), dtype=bool)), claim)
    assert found.verdict == "not run"
    assert found.decisive.n == 0


@pytest.mark.parametrize("claim", [id_ for id_ in ROWS if id_.endswith(("fmnist", "/mnist"))])
def test_a_data_set_that_cannot_be_had_hides_nothing_of_another(ideal, claim):
    without = only(
        ideal, lambda t: ~np.isin(t.get("dataset", pd.Series("", index=t.index)), ["kmnist", "cifar10"])
    )
    assert evidence(without, claim).verdict == "confirmed"


def test_a_refuted_part_is_enough_without_the_others(ideal):
    some = only(swapped(ideal, "pred_ibp", "none"), lambda t: t["method"] != "tbp")
    assert evidence(some, "P1-a/mnist").verdict == "refuted"


def searched(store: Store, *epsilons: float, seeds: int = 10) -> Store:
    """Leave some strengths of at and fast_at, the best of which have all seeds and the others some."""
    best = {"at": 0.05, "fast_at": 0.03}

    def kept(t):
        whole = t.get("epsilon") == t["method"].map(best)
        return (t.get("epsilon").isin(epsilons) & (t["seed"] < seeds)) | whole | ~t["method"].isin(best)

    return replace(store, runs=store.runs[kept(store.runs)])


def test_best_strengths_are_compared_on_a_part_of_the_grid_around_the_papers(ideal):
    (part,) = evidence(searched(ideal, 0.01, 0.03, 0.05, 0.1, seeds=3), "P1-c-epsilon/mnist").leaves
    assert part.what.endswith("(4 of 8 and 4 of 8 strengths searched)")
    assert (part.n, part.estimate, part.verdict) == (3, pytest.approx(5 / 3), "confirmed")


@pytest.mark.parametrize(
    ("epsilons", "seeds"),
    [((0.03, 0.05, 0.1), 3), ((0.01, 0.03, 0.05, 0.1), 1), ((0.003, 0.01, 0.03, 0.05), 3)],
    ids=["three strengths", "one seed", "nothing above the paper's"],
)
def test_too_little_of_the_grid_tells_no_best_strength(ideal, epsilons, seeds):
    assert evidence(searched(ideal, *epsilons, seeds=seeds), "P1-c-epsilon/mnist").verdict == "not run"


def test_a_best_strength_at_an_open_end_tells_nothing(ideal):
    runs = ideal.runs.copy()
    wrong = (runs["method"] == "at") & (runs["epsilon"] == 0.1)
    runs.loc[wrong, ["n_val_correct"]] = 9_990
    store = searched(replace(ideal, runs=runs), 0.01, 0.03, 0.05, 0.1)
    assert evidence(store, "P1-c-epsilon/mnist").verdict == "not run"


def test_the_slope_of_the_gain_needs_a_factor_ten_of_sizes_and_says_which(ideal):
    subset = ideal.runs["subset"]
    plain = ideal.runs["n_epochs"] == 100
    small = replace(ideal, runs=ideal.runs[~plain | (subset <= 10_000)])
    (part,) = evidence(small, "P1-h/mnist").leaves
    assert part.what.endswith("(1,000 to 10,000)")
    assert part.verdict == "confirmed"
    smaller = replace(ideal, runs=ideal.runs[~plain | (subset <= 5_000)])
    assert evidence(smaller, "P1-h/mnist").verdict == "not run"


def test_the_papers_own_numbers_stand_beside_ours(ideal):
    parts = evidence(ideal, "P1-a/mnist").parts
    assert parts[0].what == "mnist: error of none − pred_ibp, points"
    assert parts[0].paper == 0.31
    assert parts[0].estimate == pytest.approx(0.31, abs=0.02)
    assert evidence(ideal, "P1-e-pred_ibp/convnet_cifar").parts[0].paper == 1.83
    assert evidence(ideal, "P2-a/kmnist").parts[0].paper == 0.22


def test_distances_are_paired_by_seed_or_by_image_if_there_is_one_network(ideal):
    by_seed, test = log_distances(Selection(ideal, "holdout"), FMNIST)
    assert (by_seed.index.tolist(), test) == ([0, 1, 2, 3, 4], "paired t-test by seed")
    one = only(ideal, lambda t: t.get("seed", 0) == 0)
    by_image, test = log_distances(Selection(one, "holdout"), FMNIST)
    assert (len(by_image), test) == (20, "paired t-test by test image, one network a method")


def test_the_bootstrap_gives_the_same_draws_every_time_and_pairs_the_seeds(ideal):
    settings = list(Selection(ideal, "holdout").choice(MNIST, "at").settings)
    seeds = list(range(10))
    assert set(best_strengths(settings, seeds)) == {0.05}
    assert best_strengths(settings, seeds, n_draws=0).tolist() == [0.05]
    noisy = [
        replace(s, runs=s.runs.assign(n_val_correct=9_000 + s.runs["seed"] % (i + 2)))
        for i, s in enumerate(settings)
    ]
    first, again = best_strengths(noisy, seeds), best_strengths(noisy, seeds)
    assert np.array_equal(first, again)
    assert len(set(first)) > 1
