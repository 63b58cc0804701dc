"""train.py as a user types it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jacexp.errors import ConfigError
from jacexp.train.commandline import checked_arguments
from tests.results import rows

ROOT = Path(__file__).parents[2]
TRAIN = ROOT / "train.py"
SHORT = ("data.subset=60", "data.holdout=30", "train.batch_size=20", "train.epochs=1")


def train(*arguments, results):
    command = [sys.executable, str(TRAIN), *arguments, f"paths.results={results}"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, cwd=results, env=environment, check=False)


def sweep_status(*arguments):
    command = [sys.executable, str(ROOT / "scripts" / "sweep_status.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True)


def test_a_sweep_does_what_is_missing_and_goes_on_after_what_cannot_run(tmp_path):
    grid = ("+method=spec", *SHORT, "-m", "train.lr=0.01,-1,1e20", "method.lam=0.1", "seed=0,1")
    first = train(*grid, results=tmp_path)
    assert first.returncode == 1
    assert "error: train.lr=-1.0 must be a finite number above 0" in first.stderr
    assert "Traceback" not in first.stderr
    assert "2 of 6 runs failed" in first.stderr
    last = first.stderr.splitlines()[-1].strip()
    assert last.startswith("python "), "the way to go on is the last word"
    assert "HYDRA_FULL_ERROR" not in first.stderr
    status = sweep_status(f"paths.results={tmp_path}")
    assert "2 of 6 done, 2 failed, 2 diverged; best validation accuracy" in status.stdout
    assert "train.lr=-1 seed=0: train.lr=-1.0 must be a finite number above 0" in status.stdout
    assert sorted((r["lr"], r["seed"], r["status"]) for r in rows(tmp_path)) == [
        ("0.01", "0", "done"),
        ("0.01", "1", "done"),
        ("1e+20", "0", "diverged"),
        ("1e+20", "1", "diverged"),
    ]
    again = train(
        "+method=spec", *SHORT, "method.lam=0.1", "seed=0,1,2", "train.lr=0.01", "-m", results=tmp_path
    )
    assert again.returncode == 0, again.stderr
    assert "2 of 3 runs are over" in again.stdout
    assert "nothing to do" not in again.stdout
    assert len(rows(tmp_path)) == 5


def test_ctrl_c_while_the_program_begins_ends_it_without_a_traceback(tmp_path):
    started = subprocess.Popen(
        [sys.executable, "-X", "importtime", str(TRAIN), "+method=none", f"paths.results={tmp_path}"],
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    for line in started.stderr:
        if line.split("|")[-1].strip() == "omegaconf":  # among the first of the imports that take seconds
            break
    started.send_signal(signal.SIGINT)
    _, said = started.communicate(timeout=60)
    assert started.returncode == -signal.SIGINT
    assert "Traceback" not in said


def test_flags_may_stand_anywhere():
    assert checked_arguments(["+method=spec", "-m", "seed=1,2"]) == ["+method=spec", "seed=1,2", "-m"]
    assert checked_arguments(["--cfg", "job", "+method=spec"]) == ["+method=spec", "--cfg", "job"]
    assert checked_arguments(["+method=spec", "seed=1"]) == ["+method=spec", "seed=1"]


@pytest.mark.parametrize("word", ["+method=spec,frob", "method=spec,frob", "+method=choice(spec,frob)"])
def test_several_methods_are_refused_with_the_way_to_do_it(word):
    with pytest.raises(ConfigError, match="would lose the grid of each method") as refused:
        checked_arguments(["-m", word, "dataset=mnist"])
    assert "for m in spec frob; do python train.py +method=$m -m dataset=mnist; done" in str(refused.value)


@pytest.mark.slow
def test_two_processes_share_a_sweep_and_one_may_be_killed(tmp_path):
    """Each run once, none lost, and both see the whole sweep."""
    grid = (
        "+method=none",
        *SHORT,
        "train.epochs=20",
        "-m",
        "train.lr=0.01",
        "train.batch_size=20",
        "seed=range(8)",
    )
    with start(*grid, results=tmp_path) as first, start(*grid, results=tmp_path) as second:
        wait_for(lambda: len(list((tmp_path / "runs").glob("*/result.json"))) >= 2)
        third = start(*grid, results=tmp_path)
        wait_for(lambda: (tmp_path / "runs.csv").exists() and len(rows(tmp_path)) >= 3)
        second.kill()
        ended = [(process.communicate()[0], process.wait()) for process in (first, third)]
    for output, status in ended:
        assert status == 0
        assert "8 of 8 done" in output
    assert [r["seed"] for r in sorted(rows(tmp_path), key=lambda r: r["seed"])] == [str(s) for s in range(8)]


def start(*arguments, results):
    command = [sys.executable, str(TRAIN), *arguments, f"paths.results={results}"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=results, env=environment
    )


def wait_for(happens):
    until = time.monotonic() + 120
    while not happens():
        assert time.monotonic() < until
        time.sleep(0.1)


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["sequential", "processes"])
def test_a_sweep_that_is_asked_to_stop_stops_and_the_same_command_goes_on(tmp_path, launcher):
    grid = (
        *("+method=none", *SHORT, "train.epochs=150", "-m", f"hydra/launcher={launcher}"),
        *("train.lr=0.01", "train.batch_size=20", "seed=range(3)"),
    )
    with start(*grid, results=tmp_path) as process:
        wait_for(lambda: list((tmp_path / "runs").glob("*/resume.ckpt")))
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 143, output
    assert "Traceback" not in output
    assert len(list((tmp_path / "runs").glob("*/resume.ckpt"))) >= 1
    assert not list((tmp_path / "runs").glob("*/result.json"))
    again = train(*grid, results=tmp_path)
    assert again.returncode == 0, again.stderr
    assert len(rows(tmp_path)) == 3
