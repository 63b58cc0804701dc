"""A run on several devices is stopped, killed and started again as any other, and its processes end together."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from jacexp.errors import JacexpError
from jacexp.store.checkpoint import load_network
from jacexp.store.runs import RunDirectory
from jacexp.train.job import identify
from jacexp.train.processes import run_together
from jacexp.train.run import run
from jacexp.train.stop import Stopped, stop_requested, stop_signals

pytestmark = pytest.mark.slow

TRAIN = Path(__file__).parents[2] / "train.py"
SHORT = ("data.subset=200", "data.holdout=50", "train.batch_size=20", "train.epochs=3")
SWEEP = ("-m", "train.lr=0.01", "train.batch_size=20", "method.lam=0.01", "seed=0,1")
DOOMED = ("+method=none", "method._target_=tests.train.deadly.Doomed", "train.devices=2", *SHORT)


class Unsendable(Exception):
    def __init__(self, one, two):
        super().__init__(f"{one} and {two}")


def wait_for_stop():
    until = time.monotonic() + 60
    while not stop_requested() and time.monotonic() < until:
        time.sleep(0.01)


def misbehave(rank, how):
    """The second process does; the first waits for what never comes."""
    if how == "stop":
        if rank.number == 0:
            os.kill(os.getppid(), signal.SIGTERM)
        wait_for_stop()
        raise Stopped(f"rank {rank.number} is saved")
    if rank.number == 0:
        time.sleep(3600)
    elif how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif how == "unsendable":
        raise Unsendable("this", "that")
    raise ValueError("no such file")


@pytest.mark.parametrize(
    ("how", "error", "says"),
    [
        ("raise", ValueError, "no such file"),
        ("unsendable", RuntimeError, "Unsendable: this and that"),
        ("kill", JacexpError, "the process of device 1 was killed by SIGKILL"),
        ("stop", Stopped, "is saved"),
    ],
)
def test_processes_end_together_with_the_reason(how, error, says):
    with stop_signals(), pytest.raises(error, match=says) as raised:
        run_together(misbehave, 2, how)
    if error in (ValueError, RuntimeError):
        assert "in misbehave" in str(raised.value.__cause__)


def greet(rank, words):
    return f"{words} from {rank.number} of {rank.of} in {Path.cwd()}"


def test_the_first_process_gives_the_result(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert run_together(greet, 2, "hello") == f"hello from 0 of 2 in {tmp_path}"


def test_a_killed_process_ends_the_run_with_one_error_and_nothing_is_lost(configure, tmp_path, monkeypatch):
    monkeypatch.setenv("DOOM", "kill")
    cfg = configure(*DOOMED)
    began = time.monotonic()
    with pytest.raises(JacexpError, match="the process of device 1 was killed by SIGKILL"):
        run(cfg)
    assert time.monotonic() - began < 45
    assert identify(cfg).directory.result() is None
    assert not (tmp_path / "runs.csv").exists()
    cfg.train.devices = 1
    assert run(cfg)["status"] == "done"


def test_an_error_in_any_process_is_the_run_s(configure, monkeypatch):
    monkeypatch.setenv("DOOM", "raise")
    cfg = configure(*DOOMED)
    with pytest.raises(JacexpError, match=r"failed: ValueError\('doomed'\)"):
        run(cfg)
    result = identify(cfg).directory.result()
    assert result["status"] == "failed"
    assert "deadly.py" in result["error"], "the traceback of the process in which it happened"


def test_a_loss_that_is_not_finite_ends_the_run_as_diverged(configure):
    result = run(configure("+method=none", *SHORT, "train.devices=2", "train.lr=1e20"))
    assert result["status"] == "diverged"
    assert "not finite in epoch" in result["error"]


def start(*words, results):
    given = {word.partition("=")[0] for word in words}
    short = [word for word in SHORT if word.partition("=")[0] not in given]
    command = [sys.executable, str(TRAIN), "+method=spec", "train.device=cpu", *short, *words]
    return subprocess.Popen(
        [*command, f"paths.results={results}"],
        cwd=results,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def wait_for(happens):
    until = time.monotonic() + 300  # a busy machine is slow to begin
    while not happens():
        assert time.monotonic() < until, "it does not happen"
        time.sleep(0.02)


def children(pid):
    """The processes that a process has started, without those of multiprocessing's own."""
    found = subprocess.run(
        ["ps", "-ww", "--ppid", str(pid), "-o", "pid=", "-o", "args="],
        capture_output=True,
        text=True,
        check=False,
    )
    return [int(line.split()[0]) for line in found.stdout.splitlines() if "spawn_main" in line]


def is_alive(pid):
    state = Path(f"/proc/{pid}/stat")
    return state.exists() and state.read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.parametrize(
    "sweep",
    [(), ("-m", "train.lr=0.01", "train.batch_size=20", "method.lam=0.01", "seed=0,1")],
    ids=["run", "sweep"],
)
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_any_number_of_devices_goes_on(tmp_path, sweep, signum):
    words = (*sweep, "train.epochs=20")
    with start("train.devices=2", *words, results=tmp_path) as process:
        wait_for(lambda: list(tmp_path.glob("runs/*/resume.ckpt")))
        if signum == signal.SIGINT:  # as a terminal does, to all at once
            for child in children(process.pid):
                os.kill(child, signum)
        process.send_signal(signum)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + signum
    lines = [line for line in errors.splitlines() if line and "press Ctrl-C" not in line]
    assert len(lines) == 1, errors
    assert lines[0].startswith("stopped: run ")
    (begun,) = tmp_path.glob("runs/*")
    assert RunDirectory(begun).result() is None
    with start("train.devices=1", *words, results=tmp_path) as process:
        _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert len((tmp_path / "runs.csv").read_text().splitlines()) == (3 if sweep else 2)


def test_no_process_outlives_its_parent(tmp_path):
    with start("train.devices=2", "train.epochs=1000", results=tmp_path) as process:
        wait_for(lambda: list(tmp_path.glob("runs/*/resume.ckpt")))
        ranks = children(process.pid)
        assert len(ranks) == 2
        process.kill()
        process.communicate()
    wait_for(lambda: not any(map(is_alive, ranks)))


def test_a_run_leaves_what_one_device_leaves(tmp_path):
    """Also the lines that are printed."""
    said = []
    for n in (1, 2):
        (tmp_path / str(n)).mkdir()
        words = ("checkpoint=best", f"train.devices={n}")
        with start(*words, results=tmp_path / str(n)) as process:
            output, errors = process.communicate(timeout=120)
        assert (process.returncode, errors) == (0, "")
        said.append([line.partition(":")[0] for line in output.splitlines()])
    assert said[0] == said[1]
    one, two = (next((tmp_path / str(n)).glob("runs/*")) for n in (1, 2))
    assert one.name == two.name
    assert {p.name for p in one.iterdir()} == {p.name for p in two.iterdir()}
    for checkpoint in ("last", "best"):
        a, b = (load_network(RunDirectory(path), checkpoint).state_dict() for path in (one, two))
        for key, value in a.items():
            torch.testing.assert_close(value, b[key], rtol=0.01, atol=0.01)
