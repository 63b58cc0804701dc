"""Who is compared with whom: seed by seed, in the direction that the claim says."""

import pytest

from jacexp.report.comparisons import advantage
from jacexp.report.curve_comparisons import better_everywhere, drop_difference, log_distances
from jacexp.report.curves import curves_of
from jacexp.report.paper import EXPERIMENTS, METHODS, strength_of
from jacexp.report.schema import read_store
from jacexp.report.select import Selection

MNIST, _ = EXPERIMENTS["P1"]
_, KMNIST, _ = EXPERIMENTS["P2"]

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
