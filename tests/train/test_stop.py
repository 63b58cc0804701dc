"""Signals ask to stop: what is under way is saved first; what the files then hold, `test_resume` tells."""

import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from jacexp.store.runs import RunDirectory
from jacexp.train.run import run
from jacexp.train.stop import Stopped, stop_requested, stop_signals

SHORT = ("data.subset=100", "data.holdout=50", "train.batch_size=20", "train.epochs=3")


def test_a_request_between_two_runs_starts_no_other(configure, tmp_path):
    with stop_signals():
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Stopped, match="no run was under way"):
            run(configure("+method=none", *SHORT))
    assert not list(tmp_path.iterdir())


@pytest.fixture
def ctrl_c():
    """Ctrl-C as in a terminal; a shell starts what runs in its background with that ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c")
@pytest.mark.parametrize(("signum", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_is_a_request_while_it_is_watched_for(signum, code, capfd):
    before = signal.getsignal(signum)
    with stop_signals():
        assert not stop_requested()
        with stop_signals():
            os.kill(os.getpid(), signum)
        assert stop_requested(), "the inner one leaves it to the outer one"
        assert Stopped("saved").code == code
    assert not stop_requested()
    assert signal.getsignal(signum) is before
    assert ("press Ctrl-C again" in capfd.readouterr().err) == (signum == signal.SIGINT)


@pytest.mark.usefixtures("ctrl_c")
def test_a_second_ctrl_c_aborts_at_once():
    with stop_signals():
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(Stopped, match="aborted") as aborted:
            os.kill(os.getpid(), signal.SIGINT)
    assert aborted.value.code == 130


def test_a_signal_that_is_ignored_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with stop_signals():
            os.kill(os.getpid(), signal.SIGINT)
            assert not stop_requested()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_another_thread_installs_nothing():
    before, seen = signal.getsignal(signal.SIGTERM), []

    def watch():
        with stop_signals():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=watch)
    thread.start()
    thread.join()
    assert seen == [before]


def test_stopped_travels_between_processes_and_is_no_failure():
    stop = pickle.loads(pickle.dumps(Stopped("saved", signal.SIGINT)))
    assert (str(stop), stop.code) == ("saved", 130)
    assert not isinstance(stop, Exception)


@pytest.mark.slow
def test_sigterm_ends_a_sweep_with_one_line_and_the_same_command_ends_it(tmp_path):
    words = ("+method=none", "data.subset=200", "data.holdout=50", "train.batch_size=20", "train.epochs=20")
    command = [
        sys.executable,
        str(Path(__file__).parents[2] / "train.py"),
        *words,
        "-m",
        "train.lr=0.01",
        "seed=0,1",
    ]
    options = {"cwd": tmp_path, "text": True, "env": {**os.environ, "OMP_NUM_THREADS": "1"}}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([*command, f"paths.results={tmp_path}"], **options, **pipes) as process:
        while not list(tmp_path.glob("runs/*/resume.ckpt")):
            assert process.poll() is None
            time.sleep(0.01)
        process.terminate()
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 143
    (line,) = errors.splitlines()
    assert line.startswith("stopped: run ")
    assert line.endswith("; the same command goes on")
    (begun,) = tmp_path.glob("runs/*")
    assert RunDirectory(begun).result() is None
    again = subprocess.run(
        [*command, f"paths.results={tmp_path}"], **options, capture_output=True, check=False
    )
    assert again.returncode == 0, again.stderr
    assert len((tmp_path / "runs.csv").read_text().splitlines()) == 3
