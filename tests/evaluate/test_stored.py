"""Evaluations of stored runs: which runs, what is skipped, and what is left behind."""

import csv
import random

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from jacexp.data import load
from jacexp.errors import ConfigError, StoreError
from jacexp.evaluate import stored
from jacexp.evaluate.points import points as made
from jacexp.evaluate.registry import Outcome, find
from jacexp.evaluate.stored import evaluate_run, matching
from jacexp.models import Network, Normalize
from jacexp.store.checkpoint import load_network
from jacexp.store.tables import CURVES
from tests.evaluate.stores import add_run


def points(results, **wanted):
    """The rows of curves.csv, or those with some cells."""
    with (results / "curves.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert all(list(row) == list(CURVES) and None not in row.values() for row in rows)
    return [row for row in rows if all(row[c] == v for c, v in wanted.items())]


@pytest.fixture
def one(tmp_path):
    """A store with one run, and that run."""
    add_run(tmp_path)
    return tmp_path, matching(tmp_path, {})[0]


def test_the_points_of_a_run_carry_its_identity_and_their_origin(tmp_path):
    add_run(tmp_path, "spec", 3, lam=0.01)
    (run,) = matching(tmp_path, {})
    assert evaluate_run(tmp_path, run, "white_noise", {"sigmas": [0, 0.2]}) == 2
    clean, noisy = points(tmp_path)
    for row in (clean, noisy):
        assert (row["run"], row["method"], row["seed"], row["lam"]) == ("spec-3", "spec", "3", "0.01")
        assert (row["beta"], row["n"], row["variable"]) == ("", "360", "sigma")
        assert all(row[c] for c in ("device", "versions", "command", "started"))
    assert [float(row["value"]) for row in (clean, noisy)] == [0, 0.2]


def test_what_is_stored_is_not_measured_again(one, monkeypatch):
    results, run = one
    assert evaluate_run(results, run, "white_noise", {"sigmas": [0, 0.1]}) == 2
    before = (results / "curves.csv").read_bytes()
    monkeypatch.setattr(stored, "load_network", lambda *_: pytest.fail("nothing was to be measured"))
    assert evaluate_run(results, run, "white_noise", {"sigmas": [0.1, 0]}) == 0
    assert evaluate_run(results, run, "white_noise", {"sigmas": [0.1], "batch_size": 7}) == 0
    assert (results / "curves.csv").read_bytes() == before


def test_counts_are_stored_as_whole_numbers_beside_points_without_any(one):
    results, run = one
    settings = {"n_directions": 4, "n_samples": 30}
    evaluate_run(results, run, "boundary", settings)
    evaluate_run(results, run, "accuracy", {})
    counted = [row["n_correct"] for row in points(results) if row["n_correct"]]
    assert counted
    assert all(count.isdigit() for count in counted)
    table = stored.curves_by_run(results, [run], "boundary", settings)
    assert table.notna().all(axis=None)


def test_tables_that_hold_counts_as_decimals_are_printed(one):
    results, run = one
    evaluate_run(results, run, "accuracy", {})
    path = results / "curves.csv"
    (count,) = {row["n_correct"] for row in points(results) if row["n_correct"]}
    path.write_text(path.read_text().replace(f",{count},", f",{count}.0,"))
    table = stored.curves_by_run(results, [run], "accuracy", {})
    assert f"{int(count) / 360:.2%}" in table.to_string()


def test_new_points_and_new_settings_are_measured_and_old_points_are_not(one):
    results, run = one
    evaluate_run(results, run, "white_noise", {"sigmas": [0, 0.1]})
    assert evaluate_run(results, run, "white_noise", {"sigmas": [0, 0.1, 0.2]}) == 1
    assert evaluate_run(results, run, "white_noise", {"sigmas": [0, 0.1], "seed": 1}) == 2
    assert evaluate_run(results, run, "gaussian", {"sigmas": [0.1]}) == 1
    assert [float(p["value"]) for p in points(results, eval="white_noise")] == [0, 0.1, 0.2, 0, 0.1]


def test_a_later_attack_flags_the_point_that_is_stored(one, monkeypatch):
    """The flag is a further row of the old point, and the last row of a point counts."""
    results, run = one
    left = {"pgd": ("steps", 10, 300), "square": ("queries", 100, 100)}

    def attacked(name, *_, dataset, progress, **settings):
        variable, value, n_correct = left[name]
        row = {"variable": variable, "value": value, "n": 360, "n_correct": n_correct}
        told = find(name).stored_settings(find(name).settings(dataset, settings))
        return Outcome(made([row], threat="Linf").assign(settings=told), None)

    monkeypatch.setattr(stored, "evaluate", attacked)
    assert evaluate_run(results, run, "pgd", {"steps": [10]}) == 1
    assert evaluate_run(results, run, "square", {"queries": [100]}) == 1
    assert [row["check"] for row in points(results, eval="pgd")] == ["", "black_box_stronger"]
    assert len(points(results, eval="square")) == 1


def test_an_evaluation_without_an_axis_is_done_once(one):
    results, run = one
    assert evaluate_run(results, run, "accuracy", {}) == 1
    assert evaluate_run(results, run, "accuracy", {}) == 0


def test_points_in_two_starts_are_those_of_one(one, tmp_path_factory):
    results, run = one
    for sigmas in ([0.3], [0, 0.1], [0, 0.1, 0.3]):
        evaluate_run(results, run, "white_noise", {"sigmas": sigmas})
    other = tmp_path_factory.mktemp("at once")
    evaluate_run(other, run, "white_noise", {"sigmas": [0, 0.1, 0.3]})
    assert {(p["value"], p["n_correct"]) for p in points(results)} == {
        (p["value"], p["n_correct"]) for p in points(other)
    }


def test_a_line_that_a_crash_cut_short_is_measured_again(one):
    results, run = one
    evaluate_run(results, run, "white_noise", {"sigmas": [0, 0.1]})
    table = results / "curves.csv"
    whole = points(results)
    # Cut within the last cell: the line looks complete but for its end.
    table.write_bytes(table.read_bytes()[:-3])
    assert evaluate_run(results, run, "white_noise", {"sigmas": [0, 0.1]}) == 1
    again = points(results)
    assert [(p["value"], p["n_correct"]) for p in again] == [(p["value"], p["n_correct"]) for p in whole]


def test_an_interrupted_evaluation_leaves_no_file_behind(one):
    results, run = one
    evaluate_run(results, run, "accuracy", {})
    before = {p.name for p in results.rglob("*")}

    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate_run(results, run, "boundary", {"n_directions": 4, "n_samples": 30}, progress=stop)
    assert {p.name for p in results.rglob("*")} == before
    assert len(points(results)) == 1


def test_distances_are_stored_beside_the_points(one):
    """Every image that is classified correctly, also where no boundary was found."""
    results, run = one
    settings = {"n_directions": 4, "n_samples": 30, "max_radius": 1.0}
    assert evaluate_run(results, run, "boundary", settings) > 0
    (path,) = (results / "samples").iterdir()
    assert path.name == f"boundary-{run.directory.id}.csv.gz"
    digits, net = load("digits"), load_network(run.directory)
    right = net(digits.x_test[:30] / 255).argmax(dim=1) == digits.y_test[:30]
    table = pd.read_csv(path)
    assert table["index"].tolist() == right.nonzero()[:, 0].tolist()
    assert (table["found"] == 0).any()
    assert np.isinf(table["distance"]).tolist() == (table["found"] == 0).tolist()


def test_the_checkpoint_that_the_run_names_is_evaluated(tmp_path):
    """Of a run that keeps its best epoch, that is another network than the last."""
    best, last = add_run(tmp_path, seed=0, checkpoint="best"), add_run(tmp_path, seed=1)
    content = torch.load(last / "last.ckpt", weights_only=True)
    torch.save(content | {"run": best.id}, best / "best.ckpt")
    for run in matching(tmp_path, {}):
        evaluate_run(tmp_path, run, "accuracy", {})
    of_best, of_last = points(tmp_path)
    assert of_best["mean"] == of_last["mean"]


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({}, ["frob-0", "spec-0", "spec-1"]),
        ({"method": ["spec"]}, ["spec-0", "spec-1"]),
        ({"method": ["spec", "frob"], "seed": ["0"]}, ["frob-0", "spec-0"]),
        ({"lam": ["1e-2"]}, ["frob-0", "spec-0"]),
        ({"seed": ["1.0"], "dataset": ["digits"]}, ["spec-1"]),
    ],
)
def test_filters_choose_runs_by_column(tmp_path, filters, found):
    add_run(tmp_path, "spec", 0, lam=0.01)
    add_run(tmp_path, "spec", 1, lam=0.1)
    add_run(tmp_path, "frob", 0, lam=0.01)
    add_run(tmp_path, "spec", 2, status="diverged", lam=0.01)
    (tmp_path / "runs" / "unfinished").mkdir()
    assert [run.directory.id for run in matching(tmp_path, filters)] == found


def test_filters_that_nothing_can_match_are_named(tmp_path):
    add_run(tmp_path)
    with pytest.raises(ConfigError, match="methd is no column of runs"):
        matching(tmp_path, {"methd": ["spec"]})
    with pytest.raises(StoreError, match=r"method=spec matches no run in .*; stored are none$"):
        matching(tmp_path, {"method": ["none", "spec"]})
    add_run(tmp_path, "spec", seed=1)
    with pytest.raises(StoreError, match=r"no run in .* matches method=spec seed=0 all at once"):
        matching(tmp_path, {"method": ["spec"], "seed": ["0"]})
    with pytest.raises(StoreError, match="train one first"):
        matching(tmp_path / "nowhere", {})


def test_other_data_than_the_run_was_trained_on_are_refused(tmp_path):
    add_run(tmp_path, data='{"files": [{"file": "digits.csv.gz", "md5": "0"}]}')
    (run,) = matching(tmp_path, {})
    with pytest.raises(StoreError, match=r"none-0 was trained on .*'md5': '0'.*but here lies"):
        evaluate_run(tmp_path, run, "accuracy", {})
    assert not (tmp_path / "curves.csv").exists()


def test_a_table_with_other_columns_is_refused_and_left_as_it_is(one):
    results, run = one
    (results / "curves.csv").write_text("run,value\nx,1\n")
    with pytest.raises(StoreError, match=r"curves\.csv: its columns are not those"):
        evaluate_run(results, run, "accuracy", {})
    assert (results / "curves.csv").read_text() == "run,value\nx,1\n"


def test_an_empty_table_is_a_table_without_points(one):
    results, run = one
    (results / "curves.csv").write_text("")
    assert evaluate_run(results, run, "accuracy", {}) == 1
    assert len(points(results)) == 1


def test_a_folder_that_cannot_be_written_is_one_clear_error(one, monkeypatch):
    results, run = one

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(stored, "append_rows", full)
    with pytest.raises(StoreError, match=r"cannot be written .*No space left.*start again"):
        evaluate_run(results, run, "accuracy", {})


@pytest.mark.parametrize("name", ["pgd", "square", "white_noise", "jacobian"])
def test_global_random_states_are_left_alone(one, name):
    results, run = one
    settings = {
        "pgd": {"steps": [1]},
        "square": {"queries": [2], "n_samples": 20},
        "white_noise": {"sigmas": [0.1]},
        "jacobian": {"n_samples": 4, "n_iter": 1},
    }
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()  # noqa: NPY002
    evaluate_run(results, run, name, settings[name])
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]
    assert (np.random.get_state()[1] == before[2]).all()  # noqa: NPY002


@pytest.mark.parametrize("name", ["pgd", "white_noise"])
def test_modes_and_statistics_of_batch_norm_are_left_as_found(one, monkeypatch, name):
    results, run = one
    ones = torch.ones(1, 1, 1)
    body = nn.Sequential(nn.Conv2d(1, 2, 9, 4), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(50, 10))
    net = Network(Normalize(0 * ones, ones), body, 10).train()
    net.body[1].eval()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    modes = [module.training for module in net.modules()]
    monkeypatch.setattr(stored, "load_network", lambda *_: net)
    evaluate_run(results, run, name, {"steps": [1]} if name == "pgd" else {"sigmas": [0.1]})
    assert [module.training for module in net.modules()] == modes
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert all(p.requires_grad and p.grad is None for p in net.parameters())
