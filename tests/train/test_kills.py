"""A sweep that is killed at any moment, started again until it is done, leaves what one never killed leaves."""

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from functools import cache
from pathlib import Path

import pytest

from tests.results import rows
from tests.train.grid import save_noise
from tests.train.stores import assert_same, results

TRAIN = Path(__file__).parents[2] / "train.py"
SWEEP = (
    *("+method=spec", "method._target_=tests.train.saved_often.SavedOften", "train.lr=0.01"),
    *("data.subset=400", "data.holdout=40", "train.epochs=16", "train.precision='64'", "-m"),
    *("train.batch_size=32", "method.lam=0.01,0.1", "seed=range(4)"),
)
KILLS = 20
ROUNDING = 1e-6
"""How far apart 200 steps take fused and sequential runs; kills change no bit of either."""

pytestmark = pytest.mark.slow
either = pytest.mark.parametrize("launcher", ["sequential", "fused"])


class Sweeps:
    """Starts the sweep on images that all folders share."""

    def __init__(self, folder):
        self.folder = folder
        self.images = save_noise(folder / "noise.npz", (28, 28), n_train=440)

    def start(self, where, launcher):
        """Start it; what it prints goes to a file, which no full pipe can hold up."""
        where.mkdir(exist_ok=True)
        words = (*SWEEP, *self.images, f"hydra/launcher={launcher}", f"paths.results={where}")
        with (where / "output.txt").open("ab") as output:
            return subprocess.Popen(
                [sys.executable, TRAIN, *words],
                stdout=output,
                stderr=output,
                cwd=where,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )

    @cache  # noqa: B019  # one object a module
    def undisturbed(self, launcher):
        """Train it from beginning to end."""
        where = self.folder / launcher
        assert_done(self.start(where, launcher), where)
        return results(where)


@pytest.fixture(scope="module")
def sweeps(tmp_path_factory):
    return Sweeps(tmp_path_factory.mktemp("sweeps"))


def assert_done(process, where):
    assert process.wait() == 0, (where / "output.txt").read_text()


def checkpoints(where):
    return {path: path.stat().st_mtime_ns for path in where.glob("runs/*/resume.ckpt")}


def wait_for_a_moment(process, where, draw):
    """Wait for any moment of the first seconds, or, every other time, of the training."""
    if draw.random() < 0.5:
        wait = draw.uniform(0, 6)
    else:
        before, wait = checkpoints(where), draw.uniform(0, 1)
        while checkpoints(where) == before and process.poll() is None:
            time.sleep(0.01)
    with suppress(subprocess.TimeoutExpired):
        process.wait(wait)


def command_line(pid):
    """What a process was started with; nothing if it has just ended."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text()
    return ""


def victims(process, draw, may_spare):
    """Choose the program, all its processes at once as when the power fails, or, if it may be spared, its workers."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    workers = [int(child) for child in children if "spawn_main" in command_line(child)]
    choices = [[process.pid], [process.pid, *map(int, children)]]
    return draw.choice([*choices, workers] if workers and may_spare else choices)


def kill(process, chosen):
    for pid in chosen:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    if process.pid in chosen:
        process.wait()


@either
def test_twenty_kills_lose_and_double_nothing(sweeps, tmp_path, launcher):
    seed = random.SystemRandom().randrange(10**6)
    print(f"kills of seed {seed}")
    draw, where = random.Random(seed), tmp_path / "killed"
    process, may_spare = sweeps.start(where, launcher), True
    for n_kills in range(KILLS):
        wait_for_a_moment(process, where, draw)
        assert process.poll() is None, f"over after {n_kills} kills: {(where / 'output.txt').read_text()}"
        chosen = victims(process, draw, may_spare)
        kill(process, chosen)
        may_spare = process.pid in chosen
        if may_spare:
            process = sweeps.start(where, launcher)
    assert_done(process, where)
    assert len(rows(where)) == 8
    assert_same(results(where), sweeps.undisturbed(launcher), 0)
    assert_same(results(where), sweeps.undisturbed("sequential"), 0 if launcher == "sequential" else ROUNDING)
    assert not list(where.rglob("*.partial"))


@either
def test_two_processes_on_one_sweep_do_each_run_once(sweeps, tmp_path, launcher):
    where = tmp_path / "shared"
    for process in [sweeps.start(where, launcher) for _ in range(2)]:
        assert_done(process, where)
    assert_same(results(where), sweeps.undisturbed(launcher), 0)
