import csv
import io

import pytest

from jacexp.report.claims import ROWS
from jacexp.report.hours import Costs
from jacexp.report.markup import markdown
from jacexp.report.paper import EXPERIMENTS, size_experiment
from jacexp.report.scorecard import document, outcome, readme, scores, to_csv
from jacexp.report.select import Selection

FMNIST = EXPERIMENTS["P2"][2]
IDS = list(ROWS)


@pytest.fixture(scope="module")
def full(ideal):
    return scores(Selection(ideal, "holdout"))


def rows(scored):
    return {row["id"]: row for row in csv.DictReader(io.StringIO(to_csv(scored)))}


def test_one_row_a_claim_and_data_set_in_order(full):
    assert list(rows(full)) == IDS
    assert {"P2-a/kmnist", "P2-a/fmnist", "P2-a/cifar10", "P1-e-fast_at/convnet_cifar"} < set(IDS)
    assert to_csv(full).splitlines()[0] == (
        "id,paper,where,claim,paper_number,verdict,quantity,quantity_paper,ours,low,high,n,p,test,"
        "confirmed,refuted,undecided,not_run,hours,command"
    )


def test_a_row_holds_the_decisive_part_as_numbers(full):
    row = rows(full)["P1-b/cifar10"]
    assert (row["paper"], row["verdict"], row["n"]) == ("P1", "confirmed", "10")
    assert row["claim"] == "CIFAR-10: pred_ibp beats loss_ibp"
    assert row["paper_number"] == "32.6 against 33.1 %"
    assert float(row["low"]) < float(row["ours"]) < float(row["high"])
    assert float(row["quantity_paper"]) == 0.5
    assert float(row["p"]) < 0.025
    assert [row[v] for v in ("confirmed", "refuted", "undecided", "not_run")] == ["1", "0", "0", "0"]
    assert (row["test"], row["hours"]) == ("paired t-test by seed", "")
    assert row["command"].split("; ") == [
        "python train.py +method=pred_ibp dataset=cifar10 -m",
        "python train.py +method=loss_ibp dataset=cifar10 -m",
    ]


@pytest.fixture
def begun(tables, read):
    """Two methods on FashionMNIST, three seeds each of one setting."""
    for seed in range(3):
        tables.run(FMNIST, "none", seed, test=0.9 + seed / 1000, train_s=1800.0, batch_size=32)
        tables.run(FMNIST, "spec", seed, test=0.92 + seed / 500, lam=0.1, train_s=3600.0, batch_size=32)
    return read()


def test_what_is_not_run_has_no_numbers(begun):
    row = rows(scores(begun))["P2-a/fmnist"]
    assert row["verdict"] == "not run"
    assert [row[c] for c in ("ours", "low", "high", "n", "p")] == ["", "", "", "0", ""]
    assert (row["not_run"], row["confirmed"], row["hours"]) == ("3", "1", "unknown")
    text = markdown(document(scores(begun), begun))
    assert text.count("| – | 0 | **not run** |") == len(IDS)


def test_hours_are_those_of_the_missing_runs_by_the_times_of_runs_like_them(tables, read):
    for method, lam in (("none", ""), *((m, 0.1) for m in ("spec", "frob", "spec_bound", "l2"))):
        for seed in range(2):
            tables.run(FMNIST, method, seed, lam=lam, train_s=1800.0, batch_size=32)
    found = rows(scores(read()))
    # Of 16 settings and 5 seeds (plain training: 4), two runs are stored of each method; half an hour a run
    assert float(found["P2-a/fmnist"]["hours"]) == (4 * (80 - 2) + (20 - 2)) / 2
    assert found["P2-a/kmnist"]["hours"] == "unknown"
    assert found["P1-e-fast_at/convnet_mnist"]["hours"] == ""


def test_hours_grow_with_images_and_epochs(tables, read):
    tables.run(EXPERIMENTS["P1"][0], "none", 0, train_s=800.0)  # 10,000 images, 80 epochs
    costs = Costs(read())
    assert costs.seconds(size_experiment(1_000, augmented=False), "none") == pytest.approx(100.0)
    assert costs.seconds(size_experiment(60_000, augmented=False), "none") == pytest.approx(6000.0)
    assert costs.seconds(FMNIST, "none") is None


def test_the_text_has_a_section_a_row_with_its_parts(full, ideal):
    text = markdown(document(full, Selection(ideal, "holdout")))
    assert all(f"## {id_}, " in text for id_ in IDS)
    assert "| mnist: error of none − pred_ibp, points | 0.31 |" in text
    assert (
        "mnist: at is better than none at every epsilon (mnist, adversarial: error of none − at at epsilon"
        in text
    )
    assert text.count("| **confirmed** |") == len(IDS)


def test_the_outcome_counts_every_row_once(full, begun):
    n = len(IDS)
    assert outcome(full) == (
        f"scorecard: {n} of {n} rows are decided, {n} confirmed and 0 refuted; 0 are undecided, 0 not run"
    )
    assert outcome(scores(begun)).endswith(f"0 are undecided, {n} not run")


def test_the_readme_shows_the_rows_that_are_decided(full, begun):
    assert readme(full).count("**confirmed**") == len(IDS)
    shown = readme(scores(begun))
    assert "**not run**" not in shown
    assert "**undecided**" not in shown


def test_selection_on_the_test_set_is_said(ideal):
    chosen = Selection(ideal, "paper")
    assert "selected on the test set" in markdown(document(scores(chosen), chosen))
