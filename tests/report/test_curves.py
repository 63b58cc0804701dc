import math

import pytest

from jacexp.report.curves import curves_of, distances_of
from jacexp.report.paper import EXPERIMENTS

FMNIST = EXPERIMENTS["P2"][2]


def test_a_band_is_the_mean_and_deviation_of_each_networks_own_change(tables, read):
    for seed, (clean, attacked) in enumerate(((0.90, 0.80), (0.80, 0.66), (0.70, 0.55))):
        run = tables.run(FMNIST, "none", seed, test=0.5)
        tables.curve(run, "pgd", {0: clean, 10: attacked})
    curves = curves_of(read(), FMNIST, "pgd")
    band = curves.band("none", "change")
    assert band["mean"].tolist() == pytest.approx([0, -13])  # changes of -10, -14, -15
    assert band["deviation"].tolist() == pytest.approx([0, math.sqrt(7)])
    assert curves.band("none", "error")["mean"].tolist() == pytest.approx([20, 33])
    assert curves.networks("none") == [0, 1, 2]
    assert curves.drops["none"].tolist() == pytest.approx([10, 14, 15])


def test_only_the_chosen_networks_are_drawn(tables, read):
    for lam, val in ((0.1, 0.9), (0.01, 0.8)):
        tables.curve(tables.run(FMNIST, "spec", 0, lam=lam, val=val), "pgd", {0: val, 1: val / 2})
    curves = curves_of(read(), FMNIST, "pgd")
    assert curves.points["error"].tolist() == pytest.approx([10, 55])


def test_without_a_point_at_0_the_clean_accuracy_is_the_runs(tables, read):
    run = tables.run(FMNIST, "none", 0, test=0.9)
    tables.curve(run, "autoattack", {0.125: 0.3})
    assert curves_of(read(), FMNIST, "autoattack").points["change"].tolist() == pytest.approx([-60])


def test_a_part_of_the_test_set_is_not_compared_with_the_whole(tables, read):
    run = tables.run(FMNIST, "none", 0, test=0.9)
    tables.curve(run, "autoattack", {0.125: 0.3}, n=500, n_correct=150)
    points = curves_of(read(), FMNIST, "autoattack").points
    assert points["change"].isna().all()
    assert points["error"].tolist() == [70]


def test_curves_under_another_threat_are_put_aside_by_name(tables, read):
    for seed in range(2):
        run = tables.run(FMNIST, "none", seed)
        tables.curve(run, "pgd", {1: 0.8}, settings='{"delta": 0.1}')
    tables.curve(run, "pgd", {1: 0.1}, settings='{"delta": 0.9}', started="2026-01-01T00:00:00+00:00")
    curves = curves_of(read(), FMNIST, "pgd")
    assert curves.settings == '{"delta": 0.1}'
    assert curves.points["error"].tolist() == pytest.approx([20, 20])
    assert curves.notes == ('not shown: 1 networks under pixels with {"delta": 0.9}',)


def test_flags_are_kept_and_told(tables, read):
    run = tables.run(FMNIST, "none", 0)
    tables.curve(run, "pgd", {0: 0.9, 1: 0.8})
    tables.curve(run, "pgd", {2: 0.7}, check="weaker_than_noise;zero_gradient=7")
    curves = curves_of(read(), FMNIST, "pgd")
    assert curves.band("none", "error")["flagged"].tolist() == [False, False, True]
    assert curves.notes == ("self-check of none: weaker_than_noise, zero_gradient (1 of 3 points)",)


def test_a_statistic_is_picked_by_name(tables, read):
    run = tables.run(FMNIST, "spec", 0, lam=0.1)
    tables.point(run, "jacobian", statistic="sigma1", mean=3.0)
    tables.point(run, "jacobian", statistic="relative_error", mean=0.2, variable="n_iter", value=1)
    curves = curves_of(read(), FMNIST, "jacobian", "relative_error")
    assert curves.points["mean"].tolist() == [0.2]


def test_nothing_stored_is_an_empty_table(tables, read):
    tables.run(FMNIST, "none", 0)
    curves = curves_of(read(), FMNIST, "pgd")
    assert curves.points.empty
    assert (curves.networks("none"), curves.drops, curves.notes) == ([], {}, ())


def test_points_that_not_every_network_has_are_left_out_of_the_mean(tables, read):
    for method, points in (("none", {0: 0.9, 1: 0.8, 2: 0.2}), ("l2", {0: 0.9, 1: 0.7})):
        tables.curve(tables.run(FMNIST, method, 0), "pgd", points)
    drops = curves_of(read(), FMNIST, "pgd").drops
    assert drops["none"].tolist() == pytest.approx([10])
    assert drops["l2"].tolist() == pytest.approx([20])


def test_distances_are_of_the_images_that_every_network_has(tables, read):
    tables.distance(tables.run(FMNIST, "none", 0), {0: 1.0, 1: 2.0, 5: math.inf})
    tables.distance(tables.run(FMNIST, "l2", 0), {1: 3.0, 5: 4.0, 6: 5.0})
    table = distances_of(read(), FMNIST, seed=0)
    assert table["none"].to_dict() == {1: 2.0, 5: math.inf}
    assert table["l2"].to_dict() == {1: 3.0, 5: 4.0}
    assert distances_of(read(), FMNIST, seed=1).empty
