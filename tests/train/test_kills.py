"""A sweep that is killed at any moment, started again until it is done, leaves what one never killed leaves."""

import csv
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from jacexp.store import finished_runs, load_network

TRAIN = Path(__file__).parents[2] / "train.py"
SWEEP = (
    *("+method=spec", "dataset=digits", "data.subset=400", "train.epochs=10", "progress=off"),
    *("-m", "train.lr=0.01", "train.batch_size=32", "method.lam=0.01,0.1", "seed=range(4)"),
)
VARYING = ("train_s", "started", "command")

pytestmark = pytest.mark.slow


def start(results):
    """Start the sweep; what it prints goes to a file, which no full pipe can hold up."""
    results.mkdir(exist_ok=True)
    with (results / "output.txt").open("ab") as output:
        return subprocess.Popen(
            [sys.executable, TRAIN, *SWEEP, f"paths.results={results}"],
            stdout=output,
            stderr=output,
            cwd=results,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )


def rows(results):
    """The rows of the table by run, each there once."""
    with (results / "runs.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    by_run = {row["run"]: row for row in table}
    assert len(by_run) == len(table) == 8
    return {run: {**row, **dict.fromkeys(VARYING)} for run, row in by_run.items()}


def assert_same_store(one, other):
    """Both folders hold the same runs, with the same rows, epochs and weights, and nothing half written."""
    assert rows(one) == rows(other)
    ends = [{run.id: run for run, _ in finished_runs(results)} for results in (one, other)]
    assert ends[0].keys() == ends[1].keys() == rows(one).keys()
    for name, run in ends[0].items():
        twin = ends[1][name]
        assert {p.name for p in run.path.iterdir()} == {p.name for p in twin.path.iterdir()}
        assert (run / "metrics.csv").read_text() == (twin / "metrics.csv").read_text()
        weights, others = (load_network(end).state_dict() for end in (run, twin))
        assert all(torch.equal(value, others[key]) for key, value in weights.items())


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    results = tmp_path_factory.mktemp("undisturbed")
    assert start(results).wait() == 0, (results / "output.txt").read_text()
    return results


def test_twenty_kills_lose_and_double_nothing(undisturbed, tmp_path):
    seed = random.SystemRandom().randrange(10**6)
    print(f"kills of seed {seed}")
    draw = random.Random(seed)
    kills, is_done = 0, False
    results = tmp_path / "killed"
    while not is_done:
        process = start(results)
        try:
            # Half of them while training: it begins after three to six seconds.
            is_done = process.wait(draw.uniform(3, 12) if kills < 20 else None) == 0
            assert is_done, (results / "output.txt").read_text()
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            kills += 1
    assert_same_store(results, undisturbed)


def test_two_processes_on_one_sweep_do_each_run_once(undisturbed, tmp_path):
    results = tmp_path / "shared"
    for process in [start(results) for _ in range(2)]:
        process.wait()
    assert start(results).wait() == 0, (results / "output.txt").read_text()
    said = (results / "output.txt").read_text()
    assert [said.count(f"run {run}: done") for run in rows(results)] == 8 * [1]
    assert_same_store(results, undisturbed)
