import csv
import io

import pytest

from jacexp.report.paper import EXPERIMENTS
from jacexp.report.schema import read_store
from jacexp.report.scorecard import COLUMNS, scores, sheet, to_csv
from jacexp.report.select import Selection
from jacexp.report.sheet import markdown

FMNIST = EXPERIMENTS["P2"][2]
IDS = [*(f"P1-{x}" for x in "abcdefgh"), *(f"P2-{x}" for x in "abcd")]


@pytest.fixture(scope="module")
def full(ideal):
    return scores(Selection(ideal, "holdout"))


def rows(scored):
    return {row["id"]: row for row in csv.DictReader(io.StringIO(to_csv(scored)))}


def test_one_row_a_claim_in_order(full):
    assert list(rows(full)) == IDS
    assert to_csv(full).splitlines()[0] == ",".join(COLUMNS)


def test_a_row_holds_the_decisive_part_as_numbers(full):
    row = rows(full)["P1-b"]
    assert (row["paper"], row["verdict"], row["n"]) == ("P1", "confirmed", "10")
    assert float(row["low"]) < float(row["ours"]) < float(row["high"])
    assert float(row["quantity_paper"]) in (0.19, 0.5)
    assert float(row["p"]) < 0.025
    assert [row[v] for v in ("confirmed", "refuted", "undecided", "not_run")] == ["2", "0", "0", "0"]
    assert row["test"] == "paired t-test by seed"
    assert row["command"].split("; ") == [
        "python train.py +method=pred_ibp dataset=mnist -m",
        "python train.py +method=loss_ibp dataset=mnist -m",
        "python train.py +method=pred_ibp dataset=cifar10 -m",
        "python train.py +method=loss_ibp dataset=cifar10 -m",
    ]


def test_what_is_not_run_has_no_numbers(tables, tmp_path):
    for seed in range(3):
        tables.run(FMNIST, "none", seed, test=0.9 + seed / 1000)
        tables.run(FMNIST, "spec", seed, test=0.92 + seed / 500, lam=0.1)
    scored = scores(Selection(read_store(tables.write(tmp_path)), "holdout"))
    row = rows(scored)["P2-a"]
    assert row["verdict"] == "not run"
    assert [row[c] for c in ("ours", "low", "high", "n", "p")] == ["", "", "", "0", ""]
    assert int(row["not_run"]) > 0
    assert int(row["confirmed"]) == 1
    text = markdown(sheet(scored, Selection(read_store(tmp_path), "holdout")))
    assert text.count("| – | 0 | **not run** |") == 12


def test_the_text_has_a_section_a_claim_with_its_parts(full, ideal):
    text = markdown(sheet(full, Selection(ideal, "holdout")))
    assert all(f"## {id_}, " in text for id_ in IDS)
    assert "| mnist: error of none − pred_ibp, points | 0.31 |" in text
    assert (
        "mnist: at is better than none at every epsilon (mnist, adversarial: error of none − at at epsilon"
        in text
    )
    assert text.count("**confirmed**") == 12


def test_selection_on_the_test_set_is_said(ideal):
    chosen = Selection(ideal, "paper")
    assert "selected on the test set" in markdown(sheet(scores(chosen), chosen))
