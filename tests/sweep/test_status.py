"""A sweep's line, from files alone."""

import csv
import io
import json
import os
import runpy
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from filelock import FileLock

from jacexp.errors import JacexpError, StoreError
from jacexp.store.runs import RunDirectory
from jacexp.sweep import ticker
from jacexp.sweep.entry import Entry
from jacexp.sweep.status import (
    MANIFEST,
    Sweep,
    differing,
    duration,
    manifest,
    newest_sweep,
    troubles,
)
from tests.sweep.results import write_result

ROOT = Path(__file__).parents[2]


@pytest.fixture
def sweep(tmp_path):
    """A sweep of ten epochs a run that began 100 seconds ago, and whose runs' files a test writes."""
    return Written(tmp_path)


class Written:
    def __init__(self, results, name="2026-01-01_00-00-00"):
        self.results, self.folder, self.entries = results, results / "sweeps" / name, []
        self.now = time.time()

    def add(self, run, overrides="", error=None, epochs=10, before=0):
        directory = RunDirectory(self.results / "runs" / run) if run else None
        self.entries.append(Entry(overrides, directory, epochs, before, error and JacexpError(error)))
        self.save()
        where = self.results / "runs" / (run or "none")
        where.mkdir(parents=True, exist_ok=True)
        return where

    def save(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        started = datetime.fromtimestamp(self.now - 100, UTC).isoformat()
        content = manifest(self.folder, self.results, self.entries, started=started)
        (self.folder / MANIFEST).write_text(json.dumps(content))

    def over(self, run, overrides="", status="done", n_correct=0, error=""):
        write_result(self.add(run, overrides), status, error, n_val=200, n_val_correct=n_correct)

    def under_way(self, run, n_epochs, seconds, age=0.0, before=0):
        """A run with some epochs, begun so many seconds before its last, which is so old."""
        where = self.add(run, before=before)
        with (where / "metrics.csv").open("w", newline="") as file:
            csv.writer(file).writerows([["epoch"], *([e] for e in range(n_epochs))])
        (where / "config.yaml").write_text("")
        ended = self.now - age
        os.utime(where / "metrics.csv", (ended, ended))
        os.utime(where / "config.yaml", (ended - seconds, ended - seconds))
        return where

    def line(self):
        return Sweep(self.folder, lambda: self.now).status().line()


def test_nothing_is_known_at_the_start(sweep):
    sweep.add("a")
    sweep.add("b")
    assert sweep.line() == "0 of 2 done, 2 waiting; time left ?"


def test_a_sweep_under_way(sweep):
    sweep.over("a", "lam=1", n_correct=150)
    sweep.over("b", "lam=2", n_correct=190)
    sweep.over("c", "lam=3", status="diverged", error="not finite in epoch 0")
    sweep.over("d", "lam=4", status="failed", error="Traceback\n  File\nMemoryError: too large\n")
    sweep.add(None, "lam=-1", error="lam=-1 must not be negative")
    sweep.under_way("e", n_epochs=4, seconds=4.0)
    sweep.add("f")
    line = sweep.line()
    # 6 epochs of e and 10 of f, at the 100 seconds that the first 4 of e took
    assert line == (
        "2 of 7 done, 2 failed, 1 diverged, 1 running, 1 waiting; "
        "best validation accuracy 95.00% (lam=2); time left 7 min"
    )
    assert list(troubles(Sweep(sweep.folder).status())) == [
        "failed    d             lam=4: MemoryError: too large",
        "failed    -             lam=-1: lam=-1 must not be negative",
        "diverged  c             lam=3: not finite in epoch 0",
    ]


def test_a_run_is_running_whose_lock_is_held_or_whose_metrics_are_fresh(sweep):
    sweep.under_way("a", n_epochs=2, seconds=2.0, age=7200.0)
    assert "1 waiting" in sweep.line()
    lock = FileLock(sweep.results / "runs" / "a" / ".lock")
    with lock:
        assert "1 running" in sweep.line()
    assert "1 waiting" in sweep.line(), "a lock's file that is left behind is nobody's"
    sweep.under_way("b", n_epochs=2, seconds=7200.0, age=5000.0)
    assert "1 running, 1 waiting" in sweep.line(), "its epochs take an hour"


def test_a_failed_run_that_is_tried_again_is_running(sweep):
    sweep.over("a", status="failed")
    assert "1 failed" in sweep.line()
    with FileLock(sweep.results / "runs" / "a" / ".lock"):
        assert sweep.line() == "0 of 1 done, 1 running; time left ?"


def test_a_result_counts_more_than_a_launcher_s_complaint(sweep):
    sweep.over("a", n_correct=100)
    sweep.add("a", error="its process was killed")
    assert "2 of 2 done" in sweep.line()


def test_a_run_that_the_launcher_gives_up_meanwhile_has_failed(sweep):
    sweep.add("a")
    seen = Sweep(sweep.folder)
    assert "1 waiting" in seen.status().line()
    sweep.entries = [replace(sweep.entries[0], error=JacexpError("resume.ckpt is damaged"))]
    sweep.save()
    assert seen.status().line() == "0 of 1 done, 1 failed"
    (sweep.folder / MANIFEST).unlink()
    assert seen.status().line() == "0 of 1 done, 1 failed", "what was seen stays known"


def test_damaged_metrics_tell_nothing_and_end_nothing(sweep):
    (sweep.under_way("a", n_epochs=2, seconds=2.0) / "metrics.csv").write_bytes(b"epoch\n\xff\n")
    assert sweep.line() == "0 of 1 done, 1 waiting; time left ?"


def test_a_damaged_result_is_named(sweep):
    (sweep.add("a") / "result.json").write_text('{"status": "done"')
    (line,) = troubles(Sweep(sweep.folder).status())
    assert "result.json is damaged" in line


def test_what_is_over_stays_over_and_is_read_once(sweep):
    sweep.over("a", n_correct=100)
    seen = Sweep(sweep.folder)
    seen.status()
    (sweep.results / "runs" / "a" / "result.json").unlink()
    assert seen.status().done == 1


def test_a_thousand_runs_take_no_time(sweep):
    sweep.folder.mkdir(parents=True)
    for i in range(1000):
        where = sweep.results / "runs" / f"r{i}"
        sweep.entries.append(Entry("", RunDirectory(where), 10))
        where.mkdir(parents=True)
        write_result(where, n_val=200, n_val_correct=1, versions="x" * 2000)
    sweep.save()
    started = time.perf_counter()
    assert Sweep(sweep.folder).status().done == 1000
    assert time.perf_counter() - started < 2


@pytest.mark.parametrize(
    "content", ["", "{}", '{"results": "..", "runs": [{}]}', '{"results": 1, "runs": []}']
)
def test_a_damaged_manifest_is_named(tmp_path, content):
    (tmp_path / MANIFEST).write_text(content)
    with pytest.raises(StoreError, match=r"sweep\.json is damaged.*start the sweep's command again"):
        Sweep(tmp_path)


def test_where_there_is_no_sweep_is_said(tmp_path):
    with pytest.raises(StoreError, match="holds no sweep"):
        Sweep(tmp_path / "nowhere")
    with pytest.raises(StoreError, match=r"no sweep in .*--results DIR"):
        newest_sweep(tmp_path)


def test_the_newest_sweep_is_the_one_that_is_shown(tmp_path):
    for name in ("2026-01-02_00-00-00", "2026-01-10_00-00-00", "2026-01-03_00-00-00"):
        Written(tmp_path, name).add("a")
    (tmp_path / "sweeps" / "2026-02-01_00-00-00").mkdir()
    assert newest_sweep(tmp_path).name == "2026-01-10_00-00-00"


def test_results_may_be_moved_with_their_sweeps(tmp_path):
    before = Written(tmp_path / "before")
    before.over("a", n_correct=100)
    before.results.rename(tmp_path / "after")
    assert Sweep(tmp_path / "after" / "sweeps" / before.folder.name).status().done == 1


@pytest.mark.parametrize(
    ("seconds", "says"),
    [(None, "?"), (0.4, "0 s"), (89, "89 s"), (120, "2 min"), (12000, "3 h 20 min"), (190000, "2 d 4 h")],
)
def test_a_time_is_written_as_a_person_would(seconds, says):
    assert duration(seconds) == says


def test_a_job_is_told_by_what_the_others_have_not():
    assert differing([["a=1", "b=1"], ["a=1", "b=2"]]) == ["b=1", "b=2"]
    assert differing([["a=1", "b=1"]]) == ["a=1 b=1"]


def test_the_line_in_a_log_and_in_a_terminal(sweep, monkeypatch):
    sweep.over("a", n_correct=100)
    sweep.add("b")
    line = "1 of 2 done, 1 waiting; best validation accuracy 50.00%; time left ?"
    log = io.StringIO()
    with ticker.Ticker(sweep.folder, "auto", log) as shown:
        shown.ended("run a ended")
    assert log.getvalue().splitlines() == ["run a ended", line]

    silent = io.StringIO()
    with ticker.Ticker(sweep.folder, "off", silent) as shown:
        monkeypatch.setattr(ticker, "LOG_S", 0)  # nothing is said however much time has passed
        shown.ended("run a ended")
    assert silent.getvalue() == ""

    monkeypatch.setattr(ticker, "REFRESH_S", 0.01)
    terminal = Terminal()
    with ticker.Ticker(sweep.folder, "auto", terminal):
        while terminal.getvalue().count(line) < 2:
            time.sleep(0.01)
    assert terminal.getvalue().startswith(f"\r\x1b[K{line}\r")


def test_a_log_ends_with_the_sweep_s_line(sweep, monkeypatch):
    sweep.over("a", n_correct=100)
    log = io.StringIO()
    with ticker.Ticker(sweep.folder, "auto", log) as shown:
        monkeypatch.setattr(ticker, "LOG_S", 0)
        shown.ended("run a ended")
        monkeypatch.setattr(ticker, "LOG_S", 60)
        shown.ended("run b ended")
    line = "1 of 1 done; best validation accuracy 50.00%"
    assert log.getvalue().splitlines() == ["run a ended", line, "run b ended", line]


def test_nobody_runs_on_when_a_sweep_has_stopped(sweep):
    sweep.under_way("a", n_epochs=2, seconds=2.0, age=1.0)
    log = io.StringIO()
    with ticker.Ticker(sweep.folder, "auto", log):
        assert "1 running" in sweep.line()
    assert log.getvalue().startswith("0 of 1 done, 1 waiting")


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_the_script_says_each_trouble_once(sweep, capsys):
    script = runpy.run_path(str(ROOT / "jacexp" / "commands" / "status.py"))
    sweep.add("a", error="resume.ckpt is damaged")
    seen, said = Sweep(sweep.folder), set()
    script["show"](seen, said)
    sweep.add("b", error="no space left")
    script["show"](seen, said)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[-1].strip() for line in lines if line.startswith("failed")] == [
        "resume.ckpt is damaged",
        "no space left",
    ]


def test_the_script_prints_one_clear_error(tmp_path):
    command = [sys.executable, str(ROOT / "scripts" / "sweep_status.py"), str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert ended.stderr.startswith("error: ")
    assert len(ended.stderr.splitlines()) == 1
