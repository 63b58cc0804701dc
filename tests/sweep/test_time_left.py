"""The time left of a sweep, from files and a clock that the tests set."""

import csv
import json
import os
from datetime import UTC, datetime

import pytest

from jacexp.store.runs import RunDirectory
from jacexp.sweep.entry import Entry
from jacexp.sweep.status import MANIFEST, Sweep, manifest
from tests.sweep.results import write_result

START = 1_800_000_000.0
EPOCHS = 10


class Runs:
    """A sweep's files, of runs of ten epochs, written by somebody whose clock is set."""

    def __init__(self, results, names, before=None):
        self.results, self.folder, self.clock = results, results / "sweeps" / "s", START
        runs = results / "runs"
        entries = [Entry(n, RunDirectory(runs / n), EPOCHS, (before or {}).get(n, 0)) for n in names]
        self.folder.mkdir(parents=True)
        started = datetime.fromtimestamp(START, UTC).isoformat()
        content = manifest(self.folder, results, entries, started=started)
        (self.folder / MANIFEST).write_text(json.dumps(content))
        self.sweep = Sweep(self.folder, lambda: self.clock)

    def begin(self, *names, at=None):
        for name in names:
            where = self.results / "runs" / name
            where.mkdir(parents=True, exist_ok=True)
            self._write(where / "config.yaml", "", at)

    def trained(self, n_epochs, *names, at=None):
        for name in names:
            where = self.results / "runs" / name
            with (where / "metrics.csv").open("w", newline="") as file:
                csv.writer(file).writerows([["epoch"], *([e] for e in range(n_epochs))])
            self._touch(where / "metrics.csv", at)
            if n_epochs == EPOCHS:
                self.over(name)

    def over(self, name, status="done"):
        write_result(self.results / "runs" / name, status, n_val=2, n_val_correct=1)

    def _write(self, path, text, at):
        path.write_text(text)
        self._touch(path, at)

    def _touch(self, path, at):
        when = self.clock if at is None else at
        os.utime(path, (when, when))

    def left(self):
        return self.sweep.status().seconds_left


@pytest.mark.parametrize(
    ("n_processes", "n_fused"), [(1, 1), (2, 1), (1, 4), (2, 4)], ids=["one", "several", "fused", "both"]
)
def test_equal_runs_take_what_is_left_however_they_are_trained(tmp_path, n_processes, n_fused):
    """Sixteen runs, each process a group at a time; an epoch of a group takes 3 seconds for each of its runs."""
    names = [f"r{i:02}" for i in range(16)]
    runs = Runs(tmp_path, names)
    assert runs.left() is None
    at_once, pace = n_processes * n_fused, 3.0 * n_fused
    rounds = [names[i : i + at_once] for i in range(0, len(names), at_once)]
    total = len(rounds) * EPOCHS * pace
    for under_way in rounds:
        runs.begin(*under_way)
        for epoch in range(1, EPOCHS + 1):
            runs.clock += pace
            runs.trained(epoch, *under_way)
            truth = total - (runs.clock - START)
            assert (runs.left() or 0.0) == pytest.approx(truth)
            runs.clock += pace / 2  # somebody looks in the middle of an epoch
            if epoch < EPOCHS:
                assert runs.left() == pytest.approx(truth - pace / 2)
            runs.clock -= pace / 2
    assert runs.sweep.status().is_over


def test_what_was_done_before_is_no_speed(tmp_path):
    runs = Runs(tmp_path, ["a", "b", "c"], before={"a": EPOCHS, "b": 5})
    runs.begin("a", "b", at=START - 9000)
    runs.trained(EPOCHS, "a", at=START - 8000)
    runs.trained(5, "b", at=START - 7000)
    assert runs.left() is None
    runs.begin("b")
    runs.clock += 20
    runs.trained(6, "b")
    assert runs.left() == pytest.approx((4 + 10) * 20)


def test_the_last_run_takes_its_own_time_however_fast_all_were_together(tmp_path):
    names = [f"r{i}" for i in range(8)]
    runs = Runs(tmp_path, names)
    runs.begin(*names)
    runs.clock += 100
    runs.trained(EPOCHS, *names[:-1])
    runs.trained(5, names[-1])
    assert runs.left() == pytest.approx(5 * 100 / 5)
    runs.clock += 10
    assert runs.left() == pytest.approx(90)


@pytest.mark.parametrize("begun", [START, START - 1000], ids=["taken up again", "under way before"])
def test_the_last_run_s_own_time_is_that_of_its_epochs_in_this_sweep(tmp_path, begun):
    names = [f"r{i}" for i in range(8)]
    runs = Runs(tmp_path, names, before={names[-1]: 5})
    runs.begin(*names[:-1])
    runs.begin(names[-1], at=begun)
    runs.clock += 100
    runs.trained(EPOCHS, *names[:-1])
    runs.trained(6, names[-1])
    assert runs.left() == pytest.approx(4 * 100)


def test_an_epoch_that_is_overdue_makes_the_time_longer_and_not_nothing(tmp_path):
    runs = Runs(tmp_path, ["a"])
    runs.begin("a")
    runs.clock += 10
    runs.trained(9, "a")
    runs.clock += 80  # at the pace of before, it would be over
    assert runs.left() == pytest.approx(1 * 90 / 9)


def test_where_nobody_is_at_work_the_time_is_what_the_same_command_would_take(tmp_path):
    runs = Runs(tmp_path, ["a", "b"])
    runs.begin("a")
    runs.clock += 50
    runs.trained(5, "a")
    runs.clock += 100_000
    assert runs.left() == pytest.approx(15 * 10)


def test_a_run_that_diverged_did_its_epochs_and_needs_no_more(tmp_path):
    runs = Runs(tmp_path, ["a", "b"])
    runs.begin("a")
    runs.clock += 30
    runs.trained(3, "a")
    runs.over("a", "diverged")
    runs.begin("b")
    runs.clock += 20
    runs.trained(2, "b")
    assert runs.left() == pytest.approx(8 * 10)


def test_a_clock_that_is_behind_the_files_gives_no_nonsense(tmp_path):
    runs = Runs(tmp_path, ["a", "b"])
    runs.begin("a", at=START - 60)
    runs.trained(5, "a", at=START - 10)
    assert runs.left() is None
