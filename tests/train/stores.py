"""What a folder of results holds, to compare two of them."""

import csv

import pytest
import torch

from jacexp.store.checkpoint import load_network
from jacexp.store.runs import RunDirectory
from tests.results import rows

VARYING = ("train_s", "started", "command", "git")
"""Columns that two runs of one configuration may differ in."""


def results(where):
    """Read a store: each run's row, weights, metrics and files, by its directory's name."""
    table = rows(where)
    runs = {path.name: _ended(RunDirectory(path)) for path in sorted((where / "runs").iterdir())}
    assert sorted(row["run"] for row in table) == sorted(runs), "a row for each run, once"
    return runs


def _ended(directory):
    result, metrics = directory.result(), directory / "metrics.csv"
    return {
        "status": result["status"],
        "row": {key: value for key, value in result["row"].items() if key not in VARYING},
        "state": states(directory),
        "metrics": list(csv.DictReader(metrics.read_text().splitlines())) if metrics.exists() else [],
        "files": sorted(p.name for p in directory.path.iterdir() if p.name != ".lock"),
    }


def states(directory):
    """Read the weights of every checkpoint that is there."""
    checkpoints = [path.stem for path in directory.path.glob("*.ckpt")]
    return {c: load_network(directory, c).state_dict() for c in sorted(checkpoints)}


def assert_same(one, other, tolerance):
    """Two stores hold the same runs with the same numbers, at tolerance 0 bit for bit, and the same files."""
    assert one.keys() == other.keys()
    for name in one:
        a, b = one[name], other[name]
        assert (a["status"], a["files"]) == (b["status"], b["files"])
        _assert_same_row(a["row"], b["row"], tolerance)
        assert a["state"].keys() == b["state"].keys()
        for checkpoint, state in a["state"].items():
            assert_same_weights(state, b["state"][checkpoint], tolerance)
        for mine, theirs in zip(a["metrics"], b["metrics"], strict=True):
            _assert_same_row(
                *({key: float(value) for key, value in row.items()} for row in (mine, theirs)), tolerance
            )


def assert_same_weights(state, other, tolerance=0.0):
    """Two networks' tensors differ in relation to their norm by no more than a tolerance."""
    assert state.keys() == other.keys()
    for key, value in state.items():
        if tolerance:
            expected = other[key].double()
            # A bias before batch norm is rounding alone: nothing depends on it.
            assert (value - expected).norm() <= tolerance * expected.norm() + 1e-12, key
        else:
            assert torch.equal(value, other[key]), key


def _assert_same_row(one, other, tolerance):
    assert list(one) == list(other)
    for key, value in one.items():
        if tolerance and isinstance(value, float):
            assert value == pytest.approx(other[key], rel=tolerance, abs=1e-12), key
        else:
            assert value == other[key], key
