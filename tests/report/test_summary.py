"""Groups of runs: numbers worked out by hand, the best by validation alone, and pairs by seed."""

import json
import math

import pytest

from jacexp.errors import ConfigError
from jacexp.report.paper import EXPERIMENTS
from jacexp.report.summary import document, summary
from jacexp.results import load

FMNIST = EXPERIMENTS["P2"][2]
COUNTS = "the groups have different numbers of runs: their means are not over the same seeds"
T2 = 4.302652729911275
"""t(0.975; 2)"""


@pytest.fixture
def rows(tables, tmp_path):
    """Summarise the runs of the tables, by label."""

    def make(*by, versus=None):
        table, notes = summary(load(tables.write(tmp_path)).runs, by, versus)
        return {tuple(row[c] for c in by): row for row in table.to_dict("records")}, notes

    return make


def test_mean_deviation_and_interval_are_those_worked_out_by_hand(tables, rows):
    for seed, share in enumerate((0.89, 0.9, 0.91)):
        tables.run(FMNIST, "mine", seed, lam=0.1, test=share, protocol="own", dataset="shapes", model="net")
    found, notes = rows("dataset", "model", "method", "lam")
    row = found["shapes", "net", "mine", 0.1]
    assert (row["n"], row["lost"], notes) == (3, 0, [])
    assert (row["mean"], row["deviation"]) == (pytest.approx(90), pytest.approx(1))
    assert row["high"] - row["mean"] == row["mean"] - row["low"] == pytest.approx(T2 / math.sqrt(3))


def test_the_best_has_the_lowest_validation_loss_whatever_the_test_says(tables, rows):
    tables.run(FMNIST, "spec", 0, lam=0.1, val=0.9, test=0.5)
    tables.run(FMNIST, "spec", 0, lam=1, val=0.8, test=0.99)
    found, _ = rows("method", "lam")
    assert [found["spec", lam]["best"] for lam in (0.1, 1)] == [True, False]


def test_each_data_set_has_its_best(tables, rows):
    tables.run(FMNIST, "spec", 0, val=0.7, dataset="hard")
    tables.run(FMNIST, "none", 0, val=0.6, dataset="hard")
    tables.run(FMNIST, "none", 0, val=0.9, dataset="easy")
    found, _ = rows("dataset", "method")
    assert {key for key, row in found.items() if row["best"]} == {("hard", "spec"), ("easy", "none")}


def test_a_lost_run_is_counted_and_named_and_its_group_is_never_the_best(tables, rows):
    tables.run(FMNIST, "spec", 0, lam=1, val=0.99)
    lost = tables.lost(FMNIST, "spec", 1, lam=1)
    tables.run(FMNIST, "spec", 0, lam=0.1, val=0.5)
    found, notes = rows("method", "lam")
    assert (found["spec", 1]["n"], found["spec", 1]["lost"], found["spec", 1]["best"]) == (1, 1, False)
    assert found["spec", 0.1]["best"]
    assert f"run {lost['run']} (method spec, lam 1, seed 1) diverged" in notes


def test_runs_validated_on_the_test_set_are_never_the_best(tables, rows):
    tables.run(FMNIST, "spec", 0, val=0.99, select="paper")
    found, notes = rows("method")
    assert not found[("spec",)]["best"]
    assert any("select=paper are validated on the test images" in note for note in notes)


def test_differences_are_paired_by_seed(tables, rows):
    for seed, (none, spec) in enumerate([(0.8, 0.85), (0.9, 0.92), (0.7, 0.78)]):
        tables.run(FMNIST, "none", seed, test=none)
        tables.run(FMNIST, "spec", seed, lam=0.1, test=spec)
    tables.run(FMNIST, "spec", 7, lam=0.1, test=0.1)
    found, _ = rows("method", "lam", versus="none")
    row = next(row for key, row in found.items() if key[0] == "spec")
    assert (row["n"], row["pairs"], row["difference"]) == (4, 3, pytest.approx(5))
    assert row["difference_high"] - 5 == pytest.approx(T2 * 3 / math.sqrt(3))
    none = next(row for key, row in found.items() if key[0] == "none")
    assert (none["pairs"], math.isnan(none["difference"])) == (0, True)


def test_the_baseline_agrees_in_what_is_no_setting_of_a_method(tables, rows):
    for lr, share in ((0.1, 0.5), (0.01, 0.7)):
        tables.run(FMNIST, "none", 0, lr=lr, test=share, val=share)
        tables.run(FMNIST, "spec", 0, lr=lr, lam=1, test=0.8)
    found, _ = rows("method", "lr", versus="none")
    assert [found["spec", lr]["difference"] for lr in (0.1, 0.01)] == pytest.approx([30, 10])


def test_the_baseline_may_be_a_network_and_is_the_best_of_its_strengths(tables, rows):
    for lam, val, test in ((0.1, 0.6, 0.9), (1, 0.8, 0.7)):
        tables.run(FMNIST, "spec", 0, lam=lam, val=val, test=test, model="small")
    tables.run(FMNIST, "spec", 0, lam=0.1, test=0.95, model="large")
    found, _ = rows("model", "lam", versus="small")
    assert found["large", 0.1]["difference"] == pytest.approx(5), "the same strength"
    assert math.isnan(found["small", 1]["difference"])
    tables.run(FMNIST, "spec", 0, lam=3, test=0.95, model="large")
    found, _ = rows("model", "lam", versus="small")
    assert found["large", 3]["difference"] == pytest.approx(25), "the strength that is validated best"


def test_what_a_mean_mixes_is_said_and_cannot_be_paired(tables, rows):
    for lr in (0.1, 0.01):
        tables.run(FMNIST, "none", 0, lr=lr)
        tables.run(FMNIST, "spec", 0, lr=lr, lam=1)
    _, notes = rows("method")
    assert notes == ["a mean is over runs that differ in lr: add these to by=, or choose a value"]
    with pytest.raises(ConfigError, match=r"method spec has several of seed 0; add .* to by=: lr"):
        rows("method", versus="none")


def test_different_data_of_one_name_are_named(tables, rows):
    for seed, content in enumerate("aab"):
        data = json.dumps({"files": [{"sha256": content}], "split": {"n_val": seed}})
        tables.run(FMNIST, "none", seed, dataset="mine" if content == "b" else "shapes", data=data)
    assert rows("dataset", "method")[1] == [COUNTS], "each has its own"
    tables.run(FMNIST, "none", 3, dataset="shapes", data=data)
    assert rows("dataset", "method")[1] == [
        "different data are called shapes: choose by run=, or give each a name of its own",
        COUNTS,
    ]


def test_a_baseline_that_is_not_there_is_one_clear_error(tables, rows):
    tables.run(FMNIST, "spec", 0, lam=0.1)
    with pytest.raises(ConfigError, match=r"versus=none is the value of no group; there are spec, 0\.1"):
        rows("method", "lam", versus="none")


def test_the_printed_table_has_the_numbers_and_dashes_where_there_are_none(tables, tmp_path):
    tables.run(FMNIST, "none", 0, test=0.8, val=0.9)
    for seed, share in enumerate((0.9, 0.8)):
        tables.run(FMNIST, "spec", seed, lam=0.1, test=share, val=0.8)
    by = ("method", "lam")
    table, notes = summary(load(tables.write(tmp_path)).runs, by, "none")
    (section,) = document("all runs", table, notes, by, "none").sections
    assert section.rows[0] == ("none", "–", "1", "80.00", "–", "0.1000", "best", "0", "–", "–", "0")
    assert section.rows[1][3:5] == ("85.00 ± 7.07", "[21.47, 148.53]")
    assert section.rows[1][8:] == ("+10.00", "–", "1")
