"""Fused runs end as each would have ended alone."""

import csv
import json
import os
import signal
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from jacexp.errors import StoreError
from jacexp.store import RunDirectory, load_network, save_checkpoint
from jacexp.train import fused, stack_recorder
from jacexp.train.fused import compatible_groups, train_together
from jacexp.train.job import identify
from jacexp.train.run import run
from jacexp.train.stack_recorder import StackRecorder
from jacexp.train.stop import Stopped
from jacexp.train.together import Together
from tests.laws import METHODS, batch, make
from tests.networks import network

TINY = ("data.subset=60", "data.holdout=30", "train.batch_size=16", "train.epochs=2")
DIFFERING = ("train_s", "started", "command", "val_loss", "test_loss")
STRENGTH = {name: make(name, network("mlp")).strength for name in METHODS}


def sweep(configure, method, *words, n=3, **where):
    """Compose runs that differ in strength, learning rate, momentum, seed and so in their images."""
    return [
        configure(
            f"+method={method}",
            *TINY,
            *([f"method.{STRENGTH[method]}={0.02 * (i + 1)}"] if STRENGTH[method] else []),
            f"train.lr={0.01 * (i + 1)}",
            f"train.momentum={0.8 + 0.05 * i}",
            f"seed={i}",
            *words,
            **where,
        )
        for i in range(n)
    ]


def results(where):
    """Read a store: each run's row, weights and metrics, by its directory's name."""
    return {path.name: ended(RunDirectory(path)) for path in sorted((where / "runs").iterdir())}


def states(directory):
    """Read the weights of every checkpoint that is there."""
    checkpoints = [path.stem for path in directory.path.glob("*.ckpt")]
    return {c: load_network(directory, c).state_dict() for c in sorted(checkpoints)}


def ended(directory):
    result = directory.result()
    metrics = (
        (directory / "metrics.csv").read_text().splitlines() if (directory / "metrics.csv").exists() else []
    )
    return {
        "status": result["status"],
        "row": {key: value for key, value in result["row"].items() if key not in DIFFERING},
        "state": states(directory),
        "metrics": list(csv.DictReader(metrics)),
        "files": sorted(p.name for p in directory.path.iterdir() if p.name != ".lock"),
    }


def assert_same(one, other, tolerance):
    assert one.keys() == other.keys()
    for name in one:
        a, b = one[name], other[name]
        assert a["files"] == b["files"]
        assert [(k, v, b["row"][k]) for k, v in a["row"].items() if v != b["row"][k]] == []
        for checkpoint, state in a["state"].items():
            for key, value in state.items():
                expected = b["state"][checkpoint][key].double()
                assert (value - expected).norm() <= tolerance * expected.norm(), (checkpoint, key)
        for mine, theirs in zip(a["metrics"], b["metrics"], strict=True):
            assert list(mine) == list(theirs)
            for key, value in mine.items():
                assert float(value) == pytest.approx(float(theirs[key]), rel=tolerance, abs=1e-12), key


@pytest.fixture
def noise(tmp_path):
    """Images without a constant background, where maxima tie and rounding alone says which pixel a pool takes."""
    draw = np.random.default_rng(0)
    arrays = {
        f"{kind}_{part}": draw.integers(high, size=(n, *shape), dtype=np.uint8)
        for part, n in (("train", 90), ("test", 20))
        for kind, high, shape in (("x", 256, (28, 28)), ("y", 10, ()))
    }
    np.savez(tmp_path / "noise.npz", **arrays)
    return "dataset=npz", f"dataset.path={tmp_path / 'noise.npz'}"


@pytest.mark.parametrize("method", METHODS)
def test_fused_is_sequential(configure, tmp_path, method, noise):
    """32 steps a network in float64."""
    words = (*noise, "train.precision='64'", "train.epochs=8", "checkpoint=best")
    train_together(sweep(configure, method, *words, results=tmp_path / "fused"))
    for cfg in sweep(configure, method, *words, results=tmp_path / "alone"):
        run(cfg)
    assert_same(results(tmp_path / "fused"), results(tmp_path / "alone"), 1e-9)


KINDS = {
    "one set in two orders": ("data.subset=null",),
    "validated on the test set": ("select=paper",),
    "a last batch of one": ("data.subset=49",),
    "batches of one": ("data.subset=7", "train.batch_size=1"),
    "schedules": ("train.schedule=cosine", "train.momentum_form=average"),
    "a mean image": ("data.mean=pixel", "data.std=none"),
    "augmented": ("data.augment=affine",),
}


@pytest.mark.parametrize("words", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("n", [1, 2])
def test_fused_is_sequential_whatever_the_images(configure, tmp_path, noise, words, n):
    words = (*noise, "train.precision='64'", *words)
    for where, train in (("fused", train_together), ("alone", lambda cfgs: [run(cfg) for cfg in cfgs])):
        cfgs = sweep(configure, "none", *words, n=n, results=tmp_path / where)
        train([*cfgs, configure("+method=none", *TINY, "train.lr=0.03", *words, results=tmp_path / where)])
    assert_same(results(tmp_path / "fused"), results(tmp_path / "alone"), 1e-9)


def test_a_network_that_diverges_leaves_the_others_alone(configure, tmp_path):
    wild = [configure("+method=spec", *TINY, "train.lr=1e30", "seed=5", results=tmp_path / w) for w in "ab"]
    train_together([*sweep(configure, "spec", results=tmp_path / "a"), wild[0]])
    for cfg in [*sweep(configure, "spec", results=tmp_path / "b"), wild[1]]:
        run(cfg)
    together, alone = results(tmp_path / "a"), results(tmp_path / "b")
    assert sorted(r["status"] for r in together.values()) == ["diverged", "done", "done", "done"]
    assert_same(together, alone, 1e-3)


def stopped_after(n, cfgs, monkeypatch):
    """Train until a signal asks to stop, n looks for one later."""
    looks = iter(range(n))
    with monkeypatch.context() as patch:
        patch.setattr(stack_recorder, "stop_requested", lambda: next(looks, None) is None)
        with pytest.raises(Stopped):
            train_together(cfgs)


def test_a_stack_that_is_stopped_goes_on_bit_for_bit(configure, tmp_path, monkeypatch):
    for where in "ab":
        cfgs = sweep(configure, "spec", "checkpoint=best", "train.epochs=3", results=tmp_path / where)
        for n in (1, 3, 4) if where == "b" else ():
            stopped_after(n, cfgs, monkeypatch)
        train_together(cfgs)
    assert_same(results(tmp_path / "a"), results(tmp_path / "b"), 0)


def test_runs_that_have_come_unequally_far_all_go_on(configure, tmp_path, monkeypatch):
    """Saving after every batch, and one of them ahead of the others."""
    monkeypatch.setattr(stack_recorder, "SAVE_EVERY", 0)
    for where in "ab":
        cfgs = sweep(configure, "none", results=tmp_path / where)
        if where == "b":
            stopped_after(3, cfgs[:1], monkeypatch)
            stopped_after(1, cfgs, monkeypatch)
        train_together(cfgs)
    assert_same(results(tmp_path / "a"), results(tmp_path / "b"), 0)


def test_the_state_of_a_network_is_all_that_its_training_has():
    """Batch norm's statistics included, and nothing of its neighbours."""
    of = batch(6)
    stacks = [Together([make("none", network("batch_norm", seed=n)) for n in range(2)]) for _ in range(2)]
    for stack in stacks:
        stack.momentum, stack.step_size = 0.9, torch.full((2, 1), 0.1)
        stack._seeds = lambda *_: [0, 0]
        stack.batch_number = lambda i: i
    stacks[0].training_step(of, 0)
    states = [stacks[0].state(n) for n in range(2)]
    assert all(t.untyped_storage().nbytes() == t.nbytes for t in states[0].values())
    for n in range(2):
        stacks[1].load_state(n, states[n])
    for stack in stacks:
        stack.training_step(of, 1)
    for n in range(2):
        for key, value in stacks[0].state(n).items():
            assert torch.equal(value, stacks[1].state(n)[key]), key


def test_sigterm_in_a_validation_waits_for_the_epoch(configure, tmp_path, monkeypatch):
    cfgs = sweep(configure, "none", results=tmp_path / "b")
    with monkeypatch.context() as patch:
        patch.setattr(StackRecorder, "_check", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
        with pytest.raises(Stopped, match="3 runs are saved after epoch 1 of 2"):
            train_together(cfgs)
    train_together(cfgs)
    train_together(sweep(configure, "none", results=tmp_path / "a"))
    assert_same(results(tmp_path / "a"), results(tmp_path / "b"), 0)


def test_a_run_that_is_over_or_held_or_failed(configure, tmp_path):
    cfgs = sweep(configure, "none")
    run(cfgs[0])
    before = (tmp_path / "runs.csv").read_text()
    failed = identify(cfgs[2]).directory
    failed.path.mkdir()
    row = {"run": failed.id, "status": "failed", "seed": 2}
    (failed / "result.json").write_text(json.dumps({"status": "failed", "row": row, "dataset": {}}))
    with identify(cfgs[1]).directory.locked():
        train_together(cfgs)
    assert (tmp_path / "runs.csv").read_text().startswith(before)
    assert [identify(cfg).directory.over() is not None for cfg in cfgs] == [True, False, True]


def test_the_loss_is_looked_at_now_and_then(configure, tmp_path, monkeypatch):
    monkeypatch.setattr("jacexp.train.recorder.CHECK_EVERY", 2)
    monkeypatch.setattr(stack_recorder, "CHECK_EVERY", 2)
    for where, train in (("a", train_together), ("b", lambda cfgs: [run(cfg) for cfg in cfgs])):
        train([configure("+method=spec", *TINY, "train.lr=1e30", "seed=5", results=tmp_path / where)])
    errors = [read_error(tmp_path / where) for where in "ab"]
    assert errors[0] == errors[1] == "the loss is not finite in epoch 0, at or before its step 1"


def read_error(where):
    (path,) = (where / "runs").iterdir()
    return RunDirectory(path).result()["error"]


def test_the_runs_shares_of_the_time_are_the_time(configure, tmp_path, monkeypatch):
    monkeypatch.setattr(stack_recorder, "SAVE_EVERY", 0)
    start = time.perf_counter()
    train_together(sweep(configure, "none"))
    wall = time.perf_counter() - start
    seconds = [RunDirectory(path).result()["row"]["train_s"] for path in (tmp_path / "runs").iterdir()]
    assert 0 < sum(seconds) < wall
    assert max(seconds) - min(seconds) < 0.002


def test_who_shares_a_stack_changes_no_bit(configure, tmp_path):
    """So that a kill between two files of a save, which parts a group, changes nothing."""
    cfgs = sweep(configure, "spec", results=tmp_path / "a", n=3)
    train_together(cfgs)
    cfgs = sweep(configure, "spec", results=tmp_path / "b", n=3)
    train_together(cfgs[:1])
    train_together(cfgs)
    assert_same(results(tmp_path / "a"), results(tmp_path / "b"), 0)


def test_a_run_begun_in_a_stack_goes_on_alone(configure, tmp_path, monkeypatch):
    cfgs = sweep(configure, "spec", results=tmp_path / "a")
    stopped_after(3, cfgs, monkeypatch)
    for cfg in cfgs:
        run(cfg)
    train_together(sweep(configure, "spec", results=tmp_path / "b"))
    assert_same(results(tmp_path / "a"), results(tmp_path / "b"), 0)


def test_a_stack_that_does_not_fit_is_halved(configure, tmp_path, monkeypatch):
    sizes = []
    step = Together.training_step

    def limited(self, batch, batch_idx):
        sizes.append(len(self.alive))
        if sizes[-1] > 2:
            raise torch.OutOfMemoryError
        return step(self, batch, batch_idx)

    monkeypatch.setattr(Together, "training_step", limited)
    train_together(sweep(configure, "spec", results=tmp_path / "a"))
    assert set(sizes) == {3, 1, 2}
    monkeypatch.undo()
    train_together(sweep(configure, "spec", results=tmp_path / "b"))
    assert_same(results(tmp_path / "a"), results(tmp_path / "b"), 0)


def test_a_foreign_checkpoint_is_one_clear_error(configure, tmp_path):
    (cfg,) = sweep(configure, "none", n=1)
    directory = identify(cfg).directory
    directory.path.mkdir(parents=True)
    save_checkpoint(directory / "resume.ckpt", {"run": "another", "progress": {}, "state": {}})
    with pytest.raises(StoreError, match=f"not a checkpoint of run {directory.id}; delete it"):
        train_together([cfg])


def test_groups(configure, tmp_path):
    cfgs = [
        *sweep(configure, "spec"),
        configure("+method=spec", *TINY, "method.n_iter=2"),
        configure("+method=spec", *TINY, "method.lam=0"),
        configure("+method=none", *TINY),
        configure("+method=spec", *TINY, "train.batch_size=8"),
        configure("+method=spec", *TINY, "train.engine=autograd", "seed=8"),
        configure("+method=spec", *TINY, "train.engine=autograd", "seed=9"),
    ]
    assert compatible_groups(cfgs) == [cfgs[:3], *([cfg] for cfg in cfgs[3:])]
    assert compatible_groups(cfgs[:3], largest=2) == [cfgs[:2], cfgs[2:3]]


@pytest.mark.parametrize(
    "change",
    [
        *("select=paper", "data.holdout=20", "data.subset=50", "data.mean=pixel", "data.std=none"),
        *("data.augment=affine", "model=convnet_mnist", "model.pool=ceil", "model.init=torch"),
        *("train.epochs=3", "train.batch_size=8", "train.precision=bf16-mixed", "dataset.path=x.npz"),
    ],
)
def test_what_a_group_has_in_common(configure, monkeypatch, change):
    monkeypatch.setattr(fused, "identify", lambda cfg: SimpleNamespace(cfg=cfg, directory=Path("nowhere")))
    cfgs = [configure("+method=none", *TINY), configure("+method=none", *TINY, change)]
    assert compatible_groups(cfgs) == [[cfg] for cfg in cfgs]


@pytest.mark.parametrize(
    "change", ["seed=3", "train.lr=1", "train.momentum=0", "train.schedule=cosine", "checkpoint=best"]
)
def test_what_a_group_need_not_have_in_common(configure, change):
    cfgs = [configure("+method=none", *TINY), configure("+method=none", *TINY, change)]
    assert compatible_groups(cfgs) == [cfgs]


def test_a_damaged_checkpoint_stays_with_its_own_run(configure):
    cfgs = sweep(configure, "none")
    directory = identify(cfgs[1]).directory
    directory.path.mkdir(parents=True)
    (directory / "resume.ckpt").write_bytes(b"no checkpoint")
    assert compatible_groups(cfgs) == [[cfgs[0], cfgs[2]], [cfgs[1]]]
