"""Callbacks of a user's own: named with the run, told of its training, and taken up again."""

import json
from typing import ClassVar

import pytest
import pytorch_lightning as pl

from jacexp.train.callbacks import MONITORED
from jacexp.train.groups import compatible_groups
from jacexp.train.job import identify
from jacexp.train.run import run
from tests.train.grid import TINY, train_alone
from tests.train.stores import assert_same, results
from tests.train.test_resume import stopped_after

COUNTER = "callbacks.counter._target_=tests.train.test_callbacks.Counter"
STOPPING = (
    "callbacks.early._target_=pytorch_lightning.callbacks.EarlyStopping",
    "callbacks.early.monitor=val_loss",
    "callbacks.early.patience=2",
    "callbacks.early.min_delta=100",
    "train.epochs=9",
)


class Counter(pl.Callback):
    """Counts epochs, also over several processes."""

    seen: ClassVar[list[int]] = []

    def __init__(self, by: int = 1):
        self.by, self.n = by, 0

    def on_train_epoch_end(self, trainer, pl_module):
        self.n += self.by
        self.seen.append(self.n)

    def state_dict(self):
        return {"n": self.n}

    def load_state_dict(self, state):
        self.n = state["n"]


class Listener(pl.Callback):
    """Keeps what it could monitor."""

    told: ClassVar[dict[str, float]] = {}

    def on_train_epoch_end(self, trainer, pl_module):
        self.told.update({name: float(value) for name, value in trainer.callback_metrics.items()})


def test_callbacks_may_monitor_what_early_stopping_is_allowed(configure, monkeypatch):
    monkeypatch.setattr(Listener, "told", {})
    listener = "callbacks.x._target_=tests.train.test_callbacks.Listener"
    run(configure("+method=none", *TINY, listener, "train.epochs=2"))
    assert set(Listener.told) == set(MONITORED)
    accuracy = Listener.told["val_n_correct"] / Listener.told["val_n"]
    assert Listener.told["val_accuracy"] == pytest.approx(accuracy, rel=1e-6), "float32"


def test_a_callback_is_told_and_goes_on_from_its_state(configure, monkeypatch):
    monkeypatch.setattr(Counter, "seen", [])
    cfg = configure("+method=none", *TINY, COUNTER, "callbacks.counter.by=10", "train.epochs=3")
    stopped_after(3, lambda: run(cfg), monkeypatch)
    options = json.loads(run(cfg)["row"]["options"])
    assert Counter.seen == [10, 20, 30]
    assert options["callbacks.counter.by"] == 10


def test_early_stopping_stops_where_it_would_have(configure, tmp_path, monkeypatch):
    for where, looks in (("whole", ()), ("parts", (3, 5))):
        cfgs = [configure("+method=none", *TINY, *STOPPING, results=tmp_path / where)]
        for n in looks:
            stopped_after(n, lambda cfgs=cfgs: train_alone(cfgs), monkeypatch)
        train_alone(cfgs)
    (whole,) = results(tmp_path / "whole").values()
    assert len(whole["metrics"]) == 3
    assert_same(results(tmp_path / "parts"), results(tmp_path / "whole"), 0)


def test_callbacks_are_part_of_the_name_and_keep_runs_apart(configure, capsys):
    names = [
        identify(configure("+method=none", *TINY, *words)).directory.id
        for words in (
            (),
            (COUNTER,),
            (COUNTER, "callbacks.counter.by=1"),
            (COUNTER, "callbacks.counter.by=2"),
        )
    ]
    assert len(set(names)) == 3
    assert names[1] == names[2]
    cfgs = [configure("+method=none", *TINY, COUNTER, f"seed={s}") for s in range(2)]
    assert [len(group) for group in compatible_groups(list(map(identify, cfgs)))] == [1, 1]
    assert "runs with callbacks (counter) are trained one by one, not fused" in capsys.readouterr().out


class Unkept(pl.Callback):
    def state_dict(self):
        return {"what": object()}


def test_a_state_that_cannot_be_kept_is_refused_before_the_training(configure):
    from jacexp.errors import ConfigError

    cfg = configure("+method=none", *TINY, "callbacks.x._target_=tests.train.test_callbacks.Unkept")
    with pytest.raises(ConfigError, match="so it cannot go on"):
        run(cfg)
