"""Processes of one machine that share a sweep, and what becomes of one that is killed."""

import signal

import pytest

from jacexp.sweep.engine import plan
from jacexp.sweep.executors import Processes
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
