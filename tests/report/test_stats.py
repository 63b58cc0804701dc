import math

import numpy as np
import pytest

from jacexp.report.stats import (
    Evidence,
    all_of,
    any_of,
    at_least,
    exponential,
    greater,
    less,
    summarize,
    within,
    within_draws,
)

LEAF = Evidence("a difference", "t-test")


def leaf(p_for: float, p_against: float = 1.0, n: int = 5) -> Evidence:
    return Evidence("part", "t-test", n=n, p_for=p_for, p_against=p_against)


def test_a_summary_has_the_mean_the_sample_deviation_and_students_interval():
    s = summarize([3, 3, 4])
    deviation = math.sqrt(1 / 3)
    t = 4.302652729911275  # the 97.5 % point of Student's t with 2 degrees of freedom
    assert (s.n, s.mean) == (3, pytest.approx(10 / 3))
    assert s.deviation == pytest.approx(deviation)
    assert (s.low, s.high) == pytest.approx(
        (10 / 3 - t * deviation / 3**0.5, 10 / 3 + t * deviation / 3**0.5)
    )


def test_one_number_has_no_deviation_and_no_interval():
    s = summarize([2.0])
    assert (s.n, s.mean) == (1, 2.0)
    assert all(math.isnan(x) for x in (s.deviation, s.low, s.high))


def test_the_p_value_is_that_of_students_t_with_two_degrees_of_freedom():
    t = 2 / (1 / math.sqrt(3))  # the sample 1, 2, 3 against 0
    tail = 0.5 - t / (2 * math.sqrt(2 + t * t))  # closed form for two degrees of freedom
    tested = greater(LEAF, [1, 2, 3])
    assert (tested.p_for, tested.p_against) == pytest.approx((tail, 1 - tail))
    assert (tested.n, tested.estimate) == (3, 2.0)
    flipped = less(LEAF, [1, 2, 3])
    assert (flipped.p_for, flipped.p_against) == pytest.approx((1 - tail, tail))


def test_the_bound_shifts_the_test():
    assert greater(LEAF, [2, 3, 4], bound=1).p_for == pytest.approx(greater(LEAF, [1, 2, 3]).p_for)


def test_within_is_decided_by_the_interval():
    sample = [0.9, 1.0, 1.1, 1.0]
    s = summarize(sample)
    assert within(LEAF, sample, s.low - 0.01, s.high + 0.01).verdict == "confirmed"
    assert within(LEAF, sample, s.low + 0.01, 5).verdict == "undecided"
    assert within(LEAF, sample, s.high + 0.01, 5).verdict == "refuted"
    assert within(LEAF, sample, -5, s.low - 0.01).verdict == "refuted"


@pytest.mark.parametrize("test", [greater, less])
def test_verdicts_need_two_numbers_that_differ(test):
    assert test(LEAF, []).verdict == "not run"
    assert test(LEAF, [1.0]).verdict == "undecided"
    assert test(LEAF, [0.1 + 0.2, 0.3, 0.3]).verdict == "undecided", "rounding is no spread"


def test_the_three_other_verdicts():
    assert greater(LEAF, [1.0, 1.1, 0.9]).verdict == "confirmed"
    assert greater(LEAF, [-1.0, -1.1, -0.9]).verdict == "refuted"
    assert greater(LEAF, [1.0, -1.1, 0.3]).verdict == "undecided"


def test_a_conjunction_is_confirmed_only_if_every_part_is():
    assert all_of([leaf(0.01), leaf(0.02)]).verdict == "confirmed"
    assert all_of([leaf(0.01), leaf(0.03)]).verdict == "undecided"
    assert all_of([leaf(0.01), leaf(0.02)]).p_for == 0.02, "no correction: an intersection-union test"


def test_a_conjunction_is_refuted_by_one_part_after_holms_correction():
    assert all_of([leaf(0.01), leaf(1, 0.012)]).verdict == "refuted"
    assert all_of([leaf(0.01), leaf(1, 0.013)]).verdict == "undecided"
    assert all_of([leaf(0.01), leaf(1, 0.012)]).p_against == pytest.approx(0.024)


def test_a_disjunction_is_confirmed_by_one_part_and_refuted_by_all():
    assert any_of([leaf(0.012), leaf(1)]).verdict == "confirmed"
    assert any_of([leaf(0.013), leaf(1)]).verdict == "undecided"
    assert any_of([leaf(1, 0.02), leaf(1, 0.01)]).verdict == "refuted"


def test_a_partial_conjunction_takes_the_rth_p_value():
    parts = [leaf(p, 1 - p) for p in (0.001, 0.4, 0.002, 0.003)]
    joint = at_least(3, parts)
    assert joint.p_for == pytest.approx(2 * 0.003)  # (4 - 3 + 1) times the third smallest
    assert joint.p_against == 1.0  # three times the second smallest of 0.6, 0.997, ...
    assert joint.decisive.p_for == 0.003


def test_missing_data_confirm_nothing_but_do_not_hide_a_refutation():
    missing = leaf(1.0, n=0)
    assert all_of([leaf(0.001), missing]).verdict == "not run"
    assert any_of([leaf(0.001), missing]).verdict == "not run"
    assert all_of([leaf(1, 0.001), missing]).verdict == "refuted"
    assert all_of([leaf(1, 0.5), any_of([missing, leaf(0.1)])]).verdict == "not run"


def test_the_decisive_leaf_is_the_one_on_which_the_verdict_depends():
    strong, weak, bad = leaf(0.001), leaf(0.02), leaf(1, 0.001)
    assert all_of([strong, weak]).decisive is weak
    assert all_of([strong, any_of([leaf(0.9), leaf(0.002)])]).decisive.p_for == 0.002
    assert all_of([strong, bad, weak]).decisive is bad
    missing = leaf(1.0, n=0)
    assert all_of([leaf(1.0), missing]).decisive is missing


def test_a_bootstrap_counts_the_draws_inside():
    draws = np.array([1.0] * 10 + [2.0] * 990)
    inside = within_draws(LEAF, draws, n=10, low=1.5, high=2.5)
    assert (inside.p_for, inside.p_against) == pytest.approx((0.01, 0.99))
    assert (inside.low, inside.high, inside.n) == (2.0, 2.0, 10)
    assert within_draws(LEAF, draws, n=1, low=1.5, high=2.5).verdict == "undecided"


def test_logarithms_are_shown_as_ratios():
    shown = exponential(greater(LEAF, np.log([2.0, 2.0, 8.0])))
    assert shown.estimate == pytest.approx(2 ** (5 / 3))
    assert shown.p_for == greater(LEAF, np.log([2.0, 2.0, 8.0])).p_for
