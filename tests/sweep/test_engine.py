"""A sweep trains what is missing, each run once, whoever else is at work and whatever happens to one of them."""

import os
import signal
import threading
import time
from types import SimpleNamespace

import pytest

from jacexp.errors import ConfigError, JacexpError, RunLockedError
from jacexp.store.runs import write_json
from jacexp.sweep import engine, tasks
from jacexp.sweep.engine import plan, train_missing
from jacexp.sweep.executors import InProcess
from jacexp.sweep.tasks import train_group
from jacexp.train import job
from jacexp.train.job import identify
from jacexp.train.run import run
from jacexp.train.stop import Stopped, stop_signals
from tests.results import result

SHORT = ("+method=none", "data.subset=60", "data.holdout=30", "train.batch_size=20", "train.epochs=1")


def jobs(configure, *overrides):
    return [(word, configure(*SHORT, word)) for word in overrides]


def train(runs, executor=None, fuse=False):
    ended = []
    train_missing(runs, executor or InProcess(), fuse=fuse, ended=ended.append)
    return [r.overrides for r in ended]


def statuses(runs):
    return [r.over() and r.over()["status"] for r in runs]


def n_rows(results):
    return len((results / "runs.csv").read_text().splitlines()) - 1


class Recorded(InProcess):
    """Keeps which groups it was given."""

    def __init__(self):
        self.groups = []

    def train(self, groups):
        self.groups += [[r.overrides for r in group] for group in groups]
        return super().train(groups)


def test_a_result_that_cannot_be_read_is_one_run_s_failure(configure):
    runs = plan(jobs(configure, "seed=0", "seed=1", "seed=2"))
    for damaged, when in ((runs[0], "before"), (runs[1], "after")):
        damaged.run.path.mkdir(parents=True, exist_ok=True)
        (damaged.run / "result.json").write_text(when)
    again = plan(jobs(configure, "seed=0"))
    assert again[0].run is not None
    assert "result.json" in str(again[0].error)
    train(runs)
    assert statuses(runs) == [None, None, "done"]
    assert all("result.json" in str(run.error) for run in runs[:2])


def test_a_run_is_named_as_when_it_is_prepared(configure):
    for words in [
        (),
        ("seed=3",),
        ("select=paper",),
        ("data.subset=null", "data.holdout=0.2"),
        ("dataset=digits",),
    ]:
        identify(configure(*SHORT, *words)).prepare()  # refuses images that are not those of its name


def test_hundreds_of_runs_are_named_without_reading_the_data_or_building_networks_again(
    configure, monkeypatch
):
    calls = []
    for name in ("load", "build"):
        real = getattr(job, name)
        monkeypatch.setattr(
            job, name, lambda *a, real=real, called=name, **k: (calls.append(called), real(*a, **k))[1]
        )
    job._load_once.cache_clear()
    job._stand_in.cache_clear()
    runs = plan([(f"seed={s}", configure(*SHORT, f"seed={s}")) for s in range(20)])
    assert calls == ["load", "build"]
    assert len({r.run.id for r in runs}) == 20


def test_what_cannot_run_is_found_before_anything_is_trained(configure, tmp_path):
    words = ("seed=0", "train.lr=-1", "model=vgg16_bn", "train.batch_size=2000", "seed=1")
    runs = plan(jobs(configure, *words))
    assert not list(tmp_path.iterdir())
    assert [type(r.error) for r in runs] == [type(None), ConfigError, ConfigError, ConfigError, type(None)]
    assert train(runs) == ["seed=0", "seed=1"]
    assert statuses(runs) == ["done", None, None, None, "done"]


def test_impossible_hyper_parameters_are_found_without_the_run_s_own_network(configure):
    cfg = configure("+method=spec", *SHORT[1:], "method.lam=-1")
    assert "choose a finite number ≥ 0" in str(plan([("", cfg)])[0].error)


def test_a_data_set_that_is_missing_is_looked_for_once(configure, monkeypatch):
    looked = []
    monkeypatch.setattr(job, "load", lambda *a, **k: (looked.append(a), missing())[1])

    def missing():
        raise engine.DataError("not here")

    job._load_once.cache_clear()
    runs = plan(jobs(configure, "seed=0", "seed=1", "seed=2"))
    assert [str(r.error) for r in runs] == ["not here"] * 3
    assert len(looked) == 1


def test_only_what_is_missing_is_trained_and_each_run_once(configure, tmp_path):
    run(configure(*SHORT, "seed=1"))
    executor = Recorded()
    runs = plan(jobs(configure, "seed=0", "seed=1", "train.lr=0.02", "train.lr=2e-2"))
    assert train(runs, executor) == ["seed=0", "train.lr=2e-2"]
    assert len(executor.groups) == 2
    assert statuses(runs) == ["done"] * 4
    assert n_rows(tmp_path) == 3


def test_a_failure_is_noted_and_the_others_go_on(configure, monkeypatch):
    real = tasks.run

    def fails_for_seed_1(cfg):
        if cfg.seed == 1:
            raise MemoryError("too large")
        return real(cfg)

    monkeypatch.setattr(tasks, "run", fails_for_seed_1)
    runs = plan(jobs(configure, "seed=0", "seed=1", "seed=2"))
    assert train(runs) == ["seed=0", "seed=1", "seed=2"]
    assert statuses(runs) == ["done", None, "done"]
    assert str(runs[1].error) == "MemoryError: too large"


def test_the_runs_of_a_sweep_are_silent_and_alone_they_speak(configure, capsys):
    train(plan(jobs(configure, "seed=0")))
    assert capsys.readouterr().out == ""
    run(configure(*SHORT, "seed=1"))
    assert "done: validation accuracy" in capsys.readouterr().out


@pytest.fixture
def fused(monkeypatch):
    """A stand-in for the fused trainer, which trains a group one after another; groups have one learning rate."""
    module = SimpleNamespace(calls=[], largest=None)

    def compatible_groups(jobs, largest):
        module.largest = largest
        rates = dict.fromkeys(job.cfg.train.lr for job in jobs)
        return [[job for job in jobs if job.cfg.train.lr == rate] for rate in rates]

    def train_together(cfgs):
        module.calls.append([cfg.seed for cfg in cfgs])
        for cfg in cfgs:
            run(cfg)

    monkeypatch.setattr(engine, "compatible_groups", compatible_groups)
    monkeypatch.setattr(tasks, "train_together", train_together)
    return module


def test_compatible_runs_are_trained_together(configure, fused):
    executor = Recorded()
    runs = plan(jobs(configure, "seed=0", "train.lr=0.05", "seed=1", "seed=2"))
    assert train(runs, executor, fuse=True) == ["seed=0", "seed=1", "seed=2", "train.lr=0.05"]
    assert executor.groups == [["seed=0", "seed=1", "seed=2"], ["train.lr=0.05"]]
    assert fused.calls == [[0, 1, 2]]


@pytest.mark.parametrize(("n_jobs", "asked", "largest"), [(1, None, 3), (2, None, 2), (2, 3, 3), (1, 1, 1)])
def test_groups_are_even_shares_unless_asked_otherwise(configure, fused, n_jobs, asked, largest):
    executor = Recorded()
    executor.n_jobs = n_jobs
    runs = plan(jobs(configure, "seed=0", "seed=1", "seed=2"))
    train_missing(runs, executor, fuse=True, largest=asked, ended=lambda run: None)
    assert fused.largest == largest


def test_a_group_that_fails_goes_on_run_by_run(configure, fused, monkeypatch):
    def fails(cfgs):
        run(cfgs[0])
        raise RuntimeError("out of memory")

    monkeypatch.setattr(tasks, "train_together", fails)
    executor = Recorded()
    runs = plan(jobs(configure, "seed=0", "seed=1", "seed=2"))
    train(runs, executor, fuse=True)
    assert executor.groups == [["seed=0", "seed=1", "seed=2"], ["seed=1"], ["seed=2"]]
    assert statuses(runs) == ["done"] * 3
    assert [r.error for r in runs] == [None] * 3


def test_a_run_that_another_process_ends_is_waited_for(configure, monkeypatch):
    monkeypatch.setattr(engine, "POLL_S", 0.1)
    runs = plan(jobs(configure, "seed=0", "seed=1"))
    executor = Recorded()
    other = Other(runs[0])
    ended = train(runs, executor)
    other.join()
    assert ended == ["seed=1", "seed=0"]
    assert executor.groups == [["seed=1"]], "nothing is tried that somebody else trains"


class Other(threading.Thread):
    """Holds a run, and ends or abandons it half a second later."""

    def __init__(self, run, ends=True):
        super().__init__()
        self.swept, self.ends, self.holds = run, ends, threading.Event()
        self.start()
        self.holds.wait()

    def run(self):
        with self.swept.run.locked():
            self.holds.set()
            time.sleep(0.5)
            if self.ends:
                write_json(self.swept.run / "result.json", result(self.swept.run.id))


def test_a_run_that_another_process_abandons_is_trained_here(configure, monkeypatch, tmp_path):
    monkeypatch.setattr(engine, "POLL_S", 0.1)
    runs = plan(jobs(configure, "seed=0", "seed=1"))
    Other(runs[0], ends=False)
    assert train(runs) == ["seed=1", "seed=0"]
    assert n_rows(tmp_path) == 2


def test_a_run_that_is_taken_away_in_between_is_no_failure(configure, monkeypatch):
    monkeypatch.setattr(engine, "POLL_S", 0.1)
    tries = []
    real = tasks.run

    def taken_at_first(cfg):
        tries.append(cfg.seed)
        if tries.count(cfg.seed) == 1:
            raise RunLockedError("another process was quicker")
        return real(cfg)

    monkeypatch.setattr(tasks, "run", taken_at_first)
    runs = plan(jobs(configure, "seed=0", "seed=1"))
    train(runs)
    assert tries == [0, 1, 0, 1]
    assert statuses(runs) == ["done", "done"]


def test_a_request_to_stop_ends_the_sweep_at_once(configure, monkeypatch):
    started = []

    def stops(cfg):
        started.append(cfg.seed)
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(tasks, "run", stops)
    runs = plan(jobs(configure, "seed=0", "seed=1"))
    with stop_signals(), pytest.raises(Stopped):
        train(runs)
    assert started == [0]


def test_a_task_sends_every_error_home_in_a_form_that_any_process_understands(configure, monkeypatch):
    class Strange(Exception):
        def __init__(self, one, two):
            super().__init__(one)

    def fails(cfg):
        raise Strange("odd", "error")

    monkeypatch.setattr(tasks, "run", fails)
    error = train_group((configure(*SHORT),), ("train.py",), ".")
    assert type(error) is JacexpError
    assert str(error) == "Strange: odd"
