"""Runs that are stopped, alone or in a stack, end bit for bit where they would have; and go on as the other kind."""

import copy
import os
import pickle
import signal
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from jacexp.data import Batch
from jacexp.methods import Terms
from jacexp.methods.sums import Sums
from jacexp.store.runs import RunDirectory
from jacexp.train import job as job_module
from jacexp.train import recorder as recorder_module
from jacexp.train.fused import _equally_far, train_together
from jacexp.train.job import Job, identify
from jacexp.train.module import RegularizedModule
from jacexp.train.recorder import Recorder
from jacexp.train.resume import Resume
from jacexp.train.run import run
from jacexp.train.stack import StackTraining
from jacexp.train.stop import Stopped
from tests.faults import Killed
from tests.laws import batch, make
from tests.networks import network
from tests.train.grid import WAYS, grid, save_noise
from tests.train.stores import assert_same, results

SHORT = (
    "data.subset=100",
    "data.holdout=50",
    "train.batch_size=20",
    "train.epochs=3",
)  # five batches an epoch
SIZES = {"alone": 1, "fused": 3}
both_ways = pytest.mark.parametrize("way", SIZES)


def stopped_after(n, train, monkeypatch):
    """Train until a request to stop comes, which n looks for one miss; gives where it was saved."""
    looks = iter(range(n))
    with monkeypatch.context() as patch:
        patch.setattr(recorder_module, "stop_requested", lambda: next(looks, None) is None)
        with pytest.raises(Stopped) as stop:
            train()
    return str(stop.value).partition(" saved ")[2].removesuffix("; the same command goes on")


def with_dropout(*args, **settings):
    net = build(*args, **settings)
    net.body.append(nn.Dropout(0.3))  # has no parameters, so the checkpoint fits the network without it
    return net


build = job_module.build


@both_ways
@pytest.mark.parametrize(
    "overrides",
    [
        ("none", "train.schedule=cosine", "checkpoint=best"),
        ("spec",),
        ("spec", "train.precision='64'"),
        ("at", "dropout"),
        ("tbp", "data.augment=affine", "method.precompute=false"),
        ("fast_tbp", "data.augment=none"),
        ("l2", "train.momentum=0"),
    ],
    ids=" ".join,
)
def test_runs_that_are_stopped_again_and_again_end_bit_for_bit(
    configure, tmp_path, monkeypatch, overrides, way
):
    monkeypatch.setattr(Sums, "FLUSH", 3)  # so that an epoch has batches that are added up and some that wait
    if "dropout" in overrides:
        monkeypatch.setattr(job_module, "build", with_dropout)
    method, *words = (word for word in overrides if word != "dropout")
    whole, parts = (
        grid(configure, method, *SHORT, *words, n=SIZES[way], results=tmp_path / name)
        for name in ("whole", "parts")
    )
    WAYS[way](whole)
    places, seconds = [], [0.0]
    for _ in range(7):
        places.append(stopped_after(1, lambda: WAYS[way](parts), monkeypatch))
        seconds.append(Resume.read(identify(parts[0]).directory).seconds)
    WAYS[way](parts)
    within = "within epoch {}, after {} of 5 batches".format
    assert places == [
        *(within(1, 2), within(1, 4)),
        *(within(2, 1), within(2, 3), "after epoch 2 of 3"),
        *(within(3, 2), within(3, 4)),
    ]
    assert sorted(set(seconds)) == seconds, "the clock goes on as well"
    assert_same(results(tmp_path / "parts"), results(tmp_path / "whole"), 0)


@pytest.mark.parametrize(("first", "then"), [("alone", "fused"), ("fused", "alone")])
@pytest.mark.parametrize("looks", [1, 4, 6])
def test_a_run_goes_on_as_the_other_kind(configure, tmp_path, monkeypatch, first, then, looks):
    """From within an epoch or its end, with momentum, sums and all; but for rounding, for the arithmetic differs."""
    noise = save_noise(tmp_path / "noise.npz", (16, 16))
    words = (*noise, *("model=lenet", "train.precision='64'", "train.epochs=3", "checkpoint=best"))
    for where in "ab":
        cfgs = grid(configure, "spec", *words, results=tmp_path / where)
        if where == "b":
            for part in [[cfg] for cfg in cfgs] if first == "alone" else [cfgs]:
                stopped_after(looks, lambda part=part: WAYS[first](part), monkeypatch)
        WAYS[then](cfgs)
    assert_same(results(tmp_path / "a"), results(tmp_path / "b"), 1e-9)


def test_runs_that_have_come_unequally_far_all_go_on(configure, tmp_path, monkeypatch):
    """Saving after every batch, and one of them ahead of the others."""
    monkeypatch.setattr(recorder_module, "SAVE_STACK_EVERY", 0)
    monkeypatch.setattr(recorder_module, "SAVE_EVERY", 0)
    for where in "ab":
        cfgs = grid(configure, "none", results=tmp_path / where)
        if where == "b":
            stopped_after(3, lambda cfgs=cfgs: train_together(cfgs[:1]), monkeypatch)
            stopped_after(1, lambda cfgs=cfgs: train_together(cfgs), monkeypatch)
        train_together(cfgs)
    assert_same(results(tmp_path / "a"), results(tmp_path / "b"), 0)


@both_ways
def test_a_run_that_diverges_after_it_went_on_says_in_which_epoch(configure, monkeypatch, way):
    cfgs = grid(configure, "none", n=SIZES[way])
    stopped_after(3, lambda: WAYS[way](cfgs), monkeypatch)  # after the first epoch
    monkeypatch.setattr(Sums, "means", lambda self: [{"loss": float("nan")} for _ in self.total])
    WAYS[way](cfgs)
    for cfg in cfgs:
        result = identify(cfg).directory.result()
        assert result["error"] == "the loss is not finite in epoch 2, at or before its step 4"
        assert result["row"]["epoch"] == 1


@both_ways
def test_sigterm_in_a_validation_waits_for_the_epoch(configure, tmp_path, monkeypatch, way):
    """Lightning would end it there, and nothing would be saved."""
    cfgs = grid(configure, "frob", n=SIZES[way], results=tmp_path / "b")
    with monkeypatch.context() as patch:
        validate = recorder_module.evaluate

        def killed(*args):
            os.kill(os.getpid(), signal.SIGTERM)
            return validate(*args)

        patch.setattr(recorder_module, "evaluate", killed)
        with pytest.raises(Stopped, match="saved after epoch 1 of 2"):
            WAYS[way](cfgs)
    WAYS[way](cfgs)
    WAYS[way](grid(configure, "frob", n=SIZES[way], results=tmp_path / "a"))
    assert_same(results(tmp_path / "a"), results(tmp_path / "b"), 0)


def test_a_long_epoch_is_saved_within_and_a_short_one_is_not(configure, tmp_path, monkeypatch):
    whole, parts = (configure("+method=spec", *SHORT, results=tmp_path / name) for name in ("whole", "parts"))
    looked, saved_at = Recorder.on_train_batch_end, []

    def killed(self, trainer, module, outputs, batch, batch_idx):
        looked(self, trainer, module, outputs, batch, batch_idx)
        saved_at.append((self.jobs[0].directory / "resume.ckpt").exists())
        if (trainer.current_epoch, batch_idx) == (1, 2):
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Recorder, "on_train_batch_end", killed)
        for cfg, every, batches in ((whole, 600.0, 0), (parts, 0.0, 3)):
            patch.setattr(recorder_module, "SAVE_EVERY", every)
            with pytest.raises(Killed):
                run(cfg)
            assert Resume.read(identify(cfg).directory).batches == batches
    assert saved_at == 5 * [False] + 3 * [True] + 8 * [True]
    run(whole)
    monkeypatch.setattr(recorder_module, "SAVE_EVERY", 0.0)
    run(parts)
    assert_same(results(tmp_path / "parts"), results(tmp_path / "whole"), 0)


def draws():
    """Batches of so many sizes of numbers that the order of the additions decides the last digits."""
    draw = torch.Generator().manual_seed(0)
    for _ in range(8):
        x = torch.randn(6, 4, generator=draw).mul(8).exp()
        yield (x[0, 0], x[:, 0], x[:, 1], x), torch.arange(6) % 4


def test_sums_go_on_from_their_state_to_the_last_bit(monkeypatch):
    monkeypatch.setattr(Sums, "FLUSH", 3)
    whole, parts = Sums(), Sums()
    for of in draws():
        whole.add(*of)
        parts.add(*of)
        parts.means()
        state = pickle.loads(pickle.dumps(parts.state(0)))
        parts = Sums()
        parts.load_state(0, [state])
    assert parts.means() == whole.means()
    assert parts.counts() == whole.counts()


def test_the_sums_of_an_epoch_that_goes_on_follow_the_network_to_its_device(monkeypatch):
    """They are read before the trainer moves the network, and a step's cannot be added to another device's."""
    monkeypatch.setattr(Sums, "FLUSH", 9)
    module = make("none", network("mlp"))
    for terms, y in draws():
        module.sums.add(Terms(*terms), y)
    module.start = (0, 8)
    optimizer = SimpleNamespace(param_groups=[])
    module.trainer = SimpleNamespace(optimizers=[optimizer], current_epoch=0)
    module.to("meta").on_train_epoch_start()
    assert module.sums.n == 48
    module.sums.add(Terms(*(t.to("meta") for t in terms)), y.to("meta"))
    assert module.sums.n == 54
    assert module.sums.total.is_meta


def test_the_sums_of_a_run_alone_go_on_in_a_stack():
    alone, stacked = Sums(), Sums(2)
    for of in draws():
        alone.add(*of)
    stacked.load_state(1, [alone.state(0)])
    stacked.load_state(0, [alone.state(0)])
    assert stacked.means() == [pytest.approx(alone.means()[0])] * 2


def test_the_state_of_a_network_is_all_that_its_training_has():
    """Batch norm's statistics included, and nothing of its neighbours."""
    of = batch(6)
    stacks = [
        StackTraining([make("none", network("batch_norm", seed=n)) for n in range(2)]) for _ in range(2)
    ]
    for stack in stacks:
        stack.descent.momentum, stack.descent.step_size = 0.9, torch.full((2, 1), 0.1)
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
    monkeypatch.setattr(RegularizedModule, "current_epoch", property(lambda _: 1))
    monkeypatch.setattr(StackTraining, "current_epoch", property(lambda _: 1))
    stack = StackTraining(made)
    stack.start = (1, gone)
    stack.training_step(of, 2 - gone)
    for n, means in enumerate(stack.sums.means()):
        own = Batch(*(t[3 * n : 3 * n + 3] for t in of))
        assert means["loss"] == pytest.approx(alone[n].training_step(own, 2).item())


def test_runs_go_on_together_only_from_the_same_batch_of_the_same_epoch(tmp_path):
    jobs = []
    for name, epoch, batches in (("a", 1, 2), ("b", 1, 3), ("c", 1, 2), ("d", 2, 2)):
        directory = RunDirectory(tmp_path / name)
        directory.path.mkdir()
        Resume(epoch, batches).write(directory, {})
        jobs.append(Job(None, directory, {}))
    groups = [[job.directory.id for job in part] for part in _equally_far(jobs)]
    assert groups == [["a", "c"], ["b"], ["d"]]
