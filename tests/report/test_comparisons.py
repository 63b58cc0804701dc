"""Who is compared with whom: seed by seed, in the direction that the claim says."""

import pytest

from jacexp.report.comparisons import (
    advantage,
    best_strengths,
    better_than_most,
    by_far,
    gain_falls_with_size,
    gain_under_augmentation,
    ratio_of_best,
)
from jacexp.report.cost_comparisons import error_falls
from jacexp.report.curve_comparisons import better_everywhere, drop_difference, log_distances
from jacexp.report.curves import curves_of
from jacexp.report.paper import EXPERIMENTS, METHODS, size_experiment, strength_of
from jacexp.report.schema import read_store
from jacexp.report.select import Selection

MNIST, CIFAR_10K = EXPERIMENTS["P1"]
CIFAR, KMNIST, _ = EXPERIMENTS["P2"]

FIRST = {0: 0.90, 1: 0.91, 2: 0.95, 3: 0.92}
SECOND = {1: 0.93, 2: 0.96, 3: 0.95, 4: 0.99}
"""Shares of the images that are right, by seed: two methods that have three seeds in common."""


def trained(tables, e, method, right):
    """Add a run a seed."""
    strength = {strength_of(method): 0.01} if strength_of(method) else {}
    return {seed: tables.run(e, method, seed, test=share, **strength) for seed, share in right.items()}


def selection(tables, folder):
    return Selection(read_store(tables.write(folder)), "holdout")


@pytest.mark.parametrize(("e", "method"), [(MNIST, "pred_ibp"), (KMNIST, "spec")], ids=["error", "accuracy"])
def test_an_advantage_is_that_of_the_same_seed(tables, tmp_path, e, method):
    trained(tables, e, "none", FIRST)
    trained(tables, e, method, SECOND)
    leaf, points = advantage(selection(tables, tmp_path), e, method, "none")
    assert points.round(9).to_dict() == {1: 2.0, 2: 1.0, 3: 3.0}
    assert leaf.paper > 0


def test_curves_are_compared_seed_by_seed(tables, tmp_path):
    """At 0.5 and 1, from a clean accuracy at 0 that does not count."""
    for method, right, slopes in (
        ("none", FIRST, {0: 0.1, 1: 0.2, 2: 0.3, 3: 0.4}),
        ("at", SECOND, {1: 0.1, 2: 0.3, 3: 0.1, 4: 0.5}),
    ):
        for seed, run in trained(tables, MNIST, method, right).items():
            points = {x: right[seed] - slopes[seed] * x for x in (0.0, 0.5, 1.0)}
            tables.curve(run, "adversarial", points)
    chosen = selection(tables, tmp_path)
    falls = drop_difference(curves_of(chosen, MNIST, "adversarial"), "at", "none")
    assert falls.round(9).to_dict() == {1: -7.5, 2: 0.0, 3: -22.5}
    (claim,) = better_everywhere("adversarial", "at", "none")(chosen, MNIST)
    assert [leaf.estimate for leaf in claim.leaves] == pytest.approx([26 / 3, 46 / 3])
    assert [leaf.n for leaf in claim.leaves] == [3, 3]


def test_distances_are_those_of_images_that_every_method_has_right_and_a_boundary_of(tables, tmp_path):
    """Image 1 is wrong for one method and image 2 has no boundary for another."""
    for method in METHODS["P2"]:
        (run,) = trained(tables, KMNIST, method, {0: 0.9}).values()
        distances = {0: 1.0, 1: 2.0, 2: 3.0, 3: 4.0}
        if method == "frob":
            del distances[1]
        if method == "l2":
            distances[2] = float("inf")
        tables.distance(run, distances)
    log, _ = log_distances(selection(tables, tmp_path), KMNIST)
    assert log.index.tolist() == [0, 3]


@pytest.mark.parametrize(("rank", "verdict"), [(1, "confirmed"), (2, "confirmed"), (3, "refuted")])
def test_better_than_most_is_first_or_second(tables, tmp_path, rank, verdict):
    others = ("frob", "l2", "spec_bound", "none")
    for place, method in enumerate(("spec", *others)):
        share = 0.9 - 0.01 * (rank - 0.5 if method == "spec" else place)
        trained(tables, CIFAR, method, {seed: share + 0.0002 * seed * (place + 1) for seed in range(5)})
    (claim,) = better_than_most("spec", *others)(selection(tables, tmp_path), CIFAR)
    assert claim.verdict == verdict


@pytest.mark.parametrize(("gain", "verdict"), [(2.5, "confirmed"), (1.5, "refuted")])
def test_best_by_far_is_twice_the_gain_of_another(tables, tmp_path, gain, verdict):
    for method, points in (("none", 0), ("at", 4), ("tbp", 4 * gain)):
        trained(
            tables,
            CIFAR_10K,
            method,
            {s: 0.6 + 0.01 * (points + s / 10 + s * points / 100) for s in range(5)},
        )
    (part,) = by_far("tbp", 2.0, "at")(selection(tables, tmp_path), CIFAR_10K)
    assert part.verdict == verdict
    assert part.estimate == pytest.approx(4 * (gain - 2), rel=0.05)


def test_a_best_strength_is_chosen_from_the_errors_of_the_seeds_that_were_asked_for(tables, tmp_path):
    for epsilon, errors in ((0.03, {0: 0.0, 1: 0.15, 2: 0.15}), (0.05, {1: 0.1, 2: 0.1})):
        for seed, error in errors.items():
            tables.run(MNIST, "at", seed, val=1 - error, epsilon=epsilon)
    settings = list(selection(tables, tmp_path).choice(MNIST, "at").settings)
    assert best_strengths(settings, [1, 2], n_draws=0).tolist() == [0.05]
    assert best_strengths(settings, [2, 1], n_draws=20).tolist() == [0.05] * 20


def grown(tables, *, augmented, gains):
    """Add runs of both methods of Figure 4: none has 50 % errors, pred_ibp so many percent fewer."""
    for size, gain in gains.items():
        e = size_experiment(size, augmented=augmented)
        trained(tables, e, "none", dict.fromkeys(range(3), 0.5))
        trained(tables, e, "pred_ibp", {seed: 0.5 + 0.5 * (gain + 0.1 * seed) / 100 for seed in range(3)})


def test_the_gain_is_a_share_of_the_error_of_none_and_falls_by_factors_of_ten(tables, tmp_path):
    grown(tables, augmented=False, gains={1_000: 40.0, 3_000: 35.24, 10_000: 30.0})
    (part,) = gain_falls_with_size(selection(tables, tmp_path), MNIST)
    assert part.estimate == pytest.approx(-10, rel=0.01)


def test_the_gain_under_augmentation_is_compared_at_the_sizes_that_both_have(tables, tmp_path):
    grown(tables, augmented=False, gains={1_000: 40.0, 2_000: 36.0, 10_000: 30.0})
    grown(tables, augmented=True, gains={1_000: 20.0, 2_000: 10.0})
    smaller, left = gain_under_augmentation(selection(tables, tmp_path), MNIST)
    assert smaller.estimate == pytest.approx((20 + 10) / 2 - (40 + 36) / 2)
    assert left.estimate == pytest.approx(10.1)
    assert "at 2,000 images" in left.what


def test_a_search_away_from_the_papers_strength_tells_no_ratio(tables, tmp_path):
    for method in ("at", "fast_at"):  # 0.05 and 0.03
        for epsilon, val in ((0.0003, 0.8), (0.001, 0.9), (0.003, 0.85), (0.01, 0.8)):
            for seed in range(2):
                tables.run(MNIST, method, seed, val=val, epsilon=epsilon)
    (part,) = ratio_of_best("at", "fast_at", 0.5, 2.0)(selection(tables, tmp_path), MNIST)
    assert part.verdict == "not run"


@pytest.mark.parametrize(("bound", "verdict"), [(10.0, "confirmed"), (0.5, "refuted")])
def test_the_error_is_far_below_the_bounds_only_as_a_share_of_it(tables, tmp_path, bound, verdict):
    for method in ("spec", "spec_bound"):
        for seed, run in trained(tables, KMNIST, method, dict.fromkeys(range(3), 0.9)).items():
            for n_iter, error in ((1, 0.3), (5, 0.03 + 0.001 * seed)):
                cells = {"variable": "n_iter", "value": n_iter, "statistic": "relative_error"}
                tables.point(run, "jacobian", mean=error, **cells)
            tables.point(run, "jacobian", mean=bound + 0.01 * seed, statistic="bound_reshaped_error")
    falls, far = error_falls(0.5, 0.1)(selection(tables, tmp_path), KMNIST)
    assert (falls.verdict, far.verdict) == ("confirmed", verdict)
