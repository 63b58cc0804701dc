"""Processes of one machine that share a sweep, and what becomes of one that is killed."""

import os
import signal
import time

import pytest
import torch
from joblib import cpu_count
from pebble import ProcessExpired

from jacexp.sweep.engine import plan
from jacexp.sweep.entry import Entry
from jacexp.sweep.executors import Processes, devices_for
from jacexp.train.job import identify
from jacexp.train.workers import worker_pool
from tests.sweep.test_engine import SHORT, jobs, statuses, train


def deadly(configure, monkeypatch, tmp_path, deaths, *seeds):
    """Runs of which that of seed 1 kills its process, so many times."""
    monkeypatch.setenv("DEADLY", f"{tmp_path / 'deaths'}:{deaths}")
    target = "method._target_=tests.train.deadly.Deadly"
    return plan([(f"seed={s}", configure(*SHORT, target, f"seed={s}")) for s in seeds])


def test_a_process_that_is_killed_costs_nothing_but_time(configure, monkeypatch, tmp_path):
    runs = deadly(configure, monkeypatch, tmp_path, 1, 1, 0)
    assert train(runs, Processes(1)) == ["seed=1", "seed=0"]
    assert statuses(runs) == ["done", "done"]
    result = runs[0].over()["row"]
    assert result["command"].startswith("python train.py"), "the user's command, not the worker's"


@pytest.mark.slow
def test_a_run_that_always_kills_its_process_is_given_up_and_the_others_go_on(
    configure, monkeypatch, tmp_path
):
    runs = deadly(configure, monkeypatch, tmp_path, 99, 0, 1, 2, 3)
    assert sorted(train(runs, Processes(2))) == [f"seed={s}" for s in range(4)]
    assert statuses(runs) == ["done", None, "done", "done"]
    assert "killed 3 times" in str(runs[1].error)
    assert len((tmp_path / "deaths").read_text()) == 3


@pytest.mark.slow
def test_processes_give_what_one_process_gives(configure, tmp_path):
    here = plan(jobs(configure, "seed=0", "seed=1"))
    train(here)
    there = plan([(w, configure(*SHORT, w, results=tmp_path / "there")) for w in ("seed=0", "seed=1")])
    train(there, Processes(2))
    for one, other in zip(here, there, strict=True):
        assert one.over()["row"]["val_loss"] == other.over()["row"]["val_loss"]


def blocked_signals():
    return signal.pthread_sigmask(signal.SIG_BLOCK, [])


def test_a_terminal_s_ctrl_c_never_reaches_a_process():
    """Not even in the seconds in which it imports, where it would end in a traceback."""
    with worker_pool(1) as pool:
        assert signal.SIGINT in pool.schedule(blocked_signals).result()
    assert signal.SIGINT not in blocked_signals()


def own_device(_):
    time.sleep(0.2)  # so that the other process takes one too
    return os.getpid(), os.environ["CUDA_VISIBLE_DEVICES"]


def die():
    os.kill(os.getpid(), signal.SIGKILL)  # at work: a pool of which an idle process is killed may break


def seats_of(pool):
    return dict(future.result() for future in [pool.schedule(own_device, [n]) for n in range(8)])


def test_each_process_sees_a_gpu_of_its_own_also_one_that_takes_a_dead_one_s_place():
    with worker_pool(2, devices=["4", "7"]) as pool:
        until = time.monotonic() + 600
        while len(seats := seats_of(pool)) < 2:
            assert time.monotonic() < until
        assert sorted(seats.values()) == ["4", "7"]
        with pytest.raises(ProcessExpired):
            pool.schedule(die).result()
        while len(again := seats_of(pool)) < 2:
            assert time.monotonic() < until
        assert sorted(again.values()) == ["4", "7"]
        assert len(seats.keys() & again.keys()) == 1


@pytest.mark.parametrize(
    ("named", "n", "words", "shares", "n_jobs"),
    [
        (None, 0, (), [], cpu_count()),
        (None, 1, (), [], cpu_count()),
        (None, 3, (), ["0", "1", "2"], 3),
        ("5,2", 2, (), ["5", "2"], 2),
        ("GPU-a,GPU-b,GPU-c", 3, (), ["GPU-a", "GPU-b", "GPU-c"], 3),
        (None, 5, ("train.devices=2", "train.device=auto"), ["0,1", "2,3"], 5),
        (None, 3, ("train.devices=2", "train.device=auto"), [], 3),
        (None, 2, ("train.devices=2", "train.device=cpu"), ["0", "1"], 2),
    ],
)
def test_gpus_are_divided_among_processes(configure, monkeypatch, named, n, words, shares, n_jobs):
    cfg = configure(*SHORT, *words)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: n)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if named:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
    assert devices_for([[Entry("", job=identify(cfg))]]) == shares
    assert Processes().n_jobs == n_jobs
    assert Processes(7).n_jobs == 7
