"""A stack that is stopped, and runs that leave it or join others, end bit for bit where they would have."""

import copy
import os
import signal

import pytest
import torch

from jacexp.data import Batch
from jacexp.methods import RegularizedModule
from jacexp.train import stack_recorder
from jacexp.train.fused import train_together
from jacexp.train.job import identify
from jacexp.train.run import run
from jacexp.train.stack_recorder import StackRecorder
from jacexp.train.stop import Stopped
from jacexp.train.together import Together
from tests.laws import batch, make
from tests.networks import network
from tests.train.grid import grid
from tests.train.stores import assert_same, results


def stopped_after(n, cfgs, monkeypatch):
    """Train until a signal asks to stop, n looks for one later."""
    looks = iter(range(n))
    with monkeypatch.context() as patch:
        patch.setattr(stack_recorder, "stop_requested", lambda: next(looks, None) is None)
        with pytest.raises(Stopped):
            train_together(cfgs)


def test_a_stack_that_is_stopped_goes_on_bit_for_bit(configure, tmp_path, monkeypatch):
    for where in "ab":
        words = ("checkpoint=best", "train.epochs=3", "train.schedule=cosine")
        cfgs = grid(configure, "spec", *words, results=tmp_path / where)
        for n in (1, 3, 4) if where == "b" else ():
            stopped_after(n, cfgs, monkeypatch)
        train_together(cfgs)
    assert_same(results(tmp_path / "a"), results(tmp_path / "b"), 0)


def test_runs_that_have_come_unequally_far_all_go_on(configure, tmp_path, monkeypatch):
    """Saving after every batch, and one of them ahead of the others."""
    monkeypatch.setattr(stack_recorder, "SAVE_EVERY", 0)
    for where in "ab":
        cfgs = grid(configure, "none", results=tmp_path / where)
        if where == "b":
            stopped_after(3, cfgs[:1], monkeypatch)
            stopped_after(1, cfgs, monkeypatch)
        train_together(cfgs)
    assert_same(results(tmp_path / "a"), results(tmp_path / "b"), 0)


def test_a_run_begun_in_a_stack_goes_on_alone(configure, tmp_path, monkeypatch):
    cfgs = grid(configure, "spec", results=tmp_path / "a")
    stopped_after(3, cfgs, monkeypatch)
    for cfg in cfgs:
        run(cfg)
    train_together(grid(configure, "spec", results=tmp_path / "b"))
    assert_same(results(tmp_path / "a"), results(tmp_path / "b"), 0)


def test_a_run_that_diverges_after_it_went_on_says_in_which_epoch(configure, monkeypatch):
    (cfg,) = grid(configure, "none", n=1)
    stopped_after(3, [cfg], monkeypatch)  # after its first epoch
    monkeypatch.setattr(Together, "means", lambda _: [{"loss": float("nan")}])
    train_together([cfg])
    result = identify(cfg).directory.result()
    assert result["error"] == "the loss is not finite in epoch 1, at or before its step 3"
    assert result["row"]["epoch"] == 1


def test_sigterm_in_a_validation_waits_for_the_epoch(configure, tmp_path, monkeypatch):
    cfgs = grid(configure, "none", results=tmp_path / "b")
    with monkeypatch.context() as patch:
        patch.setattr(StackRecorder, "_check", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
        with pytest.raises(Stopped, match="3 runs are saved after epoch 1 of 2"):
            train_together(cfgs)
    train_together(cfgs)
    train_together(grid(configure, "none", results=tmp_path / "a"))
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


@pytest.mark.parametrize("gone", [0, 2])
def test_a_stack_that_goes_on_draws_the_masks_of_its_epoch_and_batch(monkeypatch, gone):
    """Those of each network alone, in epoch 1 and batch 2, whether it began there or in the epoch's first batch."""
    of, made = batch(6), [make("none", network("dropout_and_batch_norm", seed=n)) for n in range(2)]
    alone = copy.deepcopy(made)
    for n, (one, other) in enumerate(zip(made, alone, strict=True)):
        one.seed = other.seed = n
    stack = Together(made, epoch=1, batches=gone)
    stack.training_step(of, 2 - gone)
    monkeypatch.setattr(RegularizedModule, "current_epoch", property(lambda _: 1))
    for n, means in enumerate(stack.means()):
        own = Batch(*(t[3 * n : 3 * n + 3] for t in of))
        assert means["loss"] == pytest.approx(alone[n].training_step(own, 2).item())
