"""What a notebook gets: typed tables with rates, switches and arguments of one's own beside the stored columns."""

import json

import pandas as pd
import pytest

from jacexp.errors import StoreError
from jacexp.report.paper import EXPERIMENTS
from jacexp.results import load
from tests.report.synthetic import Tables

FMNIST = EXPERIMENTS["P2"][2]


@pytest.fixture
def results(tmp_path):
    tables = Tables()
    own = {"n_iter": 2, "detach": False, "model.width": 16, "model.hidden": [8, 8], "dataset.noise": 0.5}
    run = tables.run(FMNIST, "spec", 0, lam=0.1, val=0.8, test=0.75, options=json.dumps(own))
    tables.run(FMNIST, "spec", 0, lam=0.1, options=json.dumps({**own, "model.width": 32}))
    tables.lost(FMNIST, "loss_ibp", 1, beta=0.01, options="")
    tables.curve(run, "pgd", {0: 0.75, 10: 0.5}, settings='{"delta": 0.1}')
    return load(tables.write(tmp_path))


def test_runs_have_rates_in_percent_beside_their_counts_and_one_strength(results):
    first, _, lost = results.runs.to_dict("records")
    assert (first["n_test_correct"], first["test_accuracy"], first["test_error"]) == (7500, 75, 25)
    assert (first["val_accuracy"], first["val_error"], first["strength"]) == (80, 20, 0.1)
    assert (lost["status"], lost["strength"]) == ("diverged", 0.01)
    assert pd.isna(lost["n_test"])
    assert pd.isna(lost["test_accuracy"])


def test_columns_are_typed(results):
    types = results.runs.dtypes.astype(str)
    assert types[["seed", "n_test", "method.n_iter", "model.width"]].tolist() == ["Int64"] * 4
    assert types[["lam", "test_accuracy", "val_loss"]].tolist() == ["float64"] * 3
    assert types["method.detach"] == "boolean"


def test_runs_that_differ_in_an_argument_of_ones_own_alone_are_both_there(results):
    assert results.runs["model.width"].tolist() == [16, 32, pd.NA]
    assert results.runs["model.hidden"].tolist()[:2] == ["[8, 8]"] * 2
    assert results.runs["dataset.noise"].tolist()[:2] == [0.5, 0.5]


def test_points_of_curves_have_what_a_plot_groups_by(results):
    curves = results.curves
    assert curves["error"].tolist() == [25, 50]
    together = ["model.width", "method.n_iter", "n_epochs", "protocol", "strength", "eval.delta"]
    assert curves[together].to_numpy().tolist() == [[16, 2, 50, "spectral", 0.1, 0.1]] * 2


def test_the_stored_columns_stay_as_they_are(tmp_path):
    tables = Tables()
    tables.curve(tables.run(FMNIST, "none", 0, test=0.9), "pgd", {1: 0.2})
    runs, curves = load(str(tables.write(tmp_path)))
    assert runs.loc[0, ["run", "dataset", "n_test_correct"]].tolist() == ["0" * 12, "fmnist", 9000]
    assert curves.loc[0, ["value", "n", "n_correct"]].tolist() == [1, 10_000, 2000]


def test_options_that_are_no_object_are_one_clear_error(tmp_path):
    tables = Tables()
    tables.run(FMNIST, "none", 0, options="[1]")
    with pytest.raises(StoreError, match=r"runs\.csv: '\[1\]' in the column options is not a JSON object"):
        load(tables.write(tmp_path))
    with pytest.raises(StoreError, match="there is no result here yet"):
        load(tmp_path / "nowhere")
