"""Runs with another optimiser than the papers': named, recorded, resumed and fused as theirs."""

import json

import pytest
import torch
from torch import nn

from jacexp.store.checkpoint import load_network
from jacexp.train.groups import compatible_groups
from jacexp.train.job import identify
from jacexp.train.preview import preview
from jacexp.train.run import run
from tests.train.grid import TINY, WAYS, grid, save_noise
from tests.train.stores import assert_same, results
from tests.train.test_resume import SHORT, SIZES, both_ways, stopped_after

ADAMW = "train/optimizer=adamw"
STEP = ("train.scheduler._target_=torch.optim.lr_scheduler.StepLR", "train.scheduler.step_size=1")


def adamw(configure, method, *words, n=3, **where):
    """Runs that differ in strength, seed, learning rate, weight decay and betas."""
    return [
        configure(
            f"+method={method}",
            *TINY,
            ADAMW,
            f"seed={i}",
            f"train.lr={0.003 * (i + 1)}",
            f"train.optimizer.weight_decay={0.1 * i}",
            f"train.optimizer.betas=[{0.8 + 0.05 * i},0.99]",
            *words,
            **where,
        )
        for i in range(n)
    ]


@pytest.fixture
def noise(tmp_path):
    return (*save_noise(tmp_path / "noise.npz", (16, 16)), "model=lenet", "train.precision='64'")


ROUNDING = 1e-6
"""Of runs by Adam, which divides rounding by the size of the gradient."""


def test_fused_is_sequential(configure, tmp_path, noise):
    for way, train in WAYS.items():
        train(adamw(configure, "spec", *noise, *STEP, results=tmp_path / way))
    assert_same(results(tmp_path / "fused"), results(tmp_path / "alone"), ROUNDING)


@both_ways
def test_runs_that_are_stopped_again_and_again_end_bit_for_bit(configure, tmp_path, monkeypatch, way):
    words = (*SHORT, "train.warmup_epochs=1")
    whole, parts = (
        adamw(configure, "spec", *words, n=SIZES[way], results=tmp_path / name) for name in ("whole", "parts")
    )
    WAYS[way](whole)
    for _ in range(7):
        stopped_after(1, lambda: WAYS[way](parts), monkeypatch)
    WAYS[way](parts)
    assert_same(results(tmp_path / "parts"), results(tmp_path / "whole"), 0)


@pytest.mark.parametrize(("first", "then"), [("alone", "fused"), ("fused", "alone")])
def test_a_run_goes_on_as_the_other_kind(configure, tmp_path, monkeypatch, first, then, noise):
    for where in "ab":
        cfgs = adamw(configure, "spec", *noise, results=tmp_path / where)
        if where == "b":
            for part in [[cfg] for cfg in cfgs] if first == "alone" else [cfgs]:
                stopped_after(1, lambda part=part: WAYS[first](part), monkeypatch)
        WAYS[then](cfgs)
    assert_same(results(tmp_path / "a"), results(tmp_path / "b"), ROUNDING)


def test_a_network_that_diverges_leaves_the_others_alone(configure, tmp_path):
    for way, train in WAYS.items():
        wild = configure("+method=spec", *TINY, ADAMW, "train.lr=1e30", "seed=5", results=tmp_path / way)
        train([*adamw(configure, "spec", results=tmp_path / way), wild])
    together, alone = results(tmp_path / "fused"), results(tmp_path / "alone")
    assert sorted(r["status"] for r in together.values()) == ["diverged", "done", "done", "done"]
    assert_same(together, alone, 1e-3)


def test_the_optimiser_is_in_the_name_and_in_the_row(configure):
    def name(*words):
        return identify(configure("+method=none", *TINY, *words)).directory.id

    by_class = ("train.optimizer._target_=torch.optim.AdamW", "train.lr=0.001")
    assert name(ADAMW) == name(*by_class) == name(ADAMW, "train.momentum=0.5")
    different = ["train.optimizer.weight_decay=0.1", "train.optimizer.amsgrad=true", "train.lr=0.1"]
    assert len({name(), name(ADAMW), name(ADAMW, *STEP), *(name(ADAMW, w) for w in different)}) == 6
    row = run(configure("+method=none", *TINY, ADAMW, *STEP))["row"]
    options = json.loads(row["options"])
    assert (row["lr"], row["momentum"]) == (0.001, None)
    assert options["train.optimizer._target_"] == "torch.optim.AdamW"
    assert options["train.optimizer.betas"] == [0.9, 0.999]
    assert options["train.scheduler.step_size"] == 1


def test_the_line_before_a_training_names_it(configure, tmp_path):
    runs = [identify(configure("+method=none", *words)) for words in ((), (ADAMW,))]
    assert "SGD with lr 0.01 (constant) and momentum 0.8 (accumulate), seed" in preview(runs[:1], tmp_path)
    line = preview(runs[1:], tmp_path)
    assert (
        "AdamW(betas=[0.9, 0.999], eps=1e-08, weight_decay=0.01), weight decay decoupled from the gradient"
        in line
    )
    assert "with lr 0.001 (constant), seed" in line
    stepped = configure("+method=none", "train.warmup_epochs=2", *STEP)
    assert "(StepLR(step_size=1, gamma=0.1) after 2 epochs of warm-up)" in preview(
        [identify(stepped)], tmp_path
    )


def test_a_stack_is_of_one_elementwise_optimiser(configure, capsys):
    own = "train.optimizer._target_=tests.methods.test_optimizers.Scaled"
    cfgs = [*adamw(configure, "none", n=2), *grid(configure, "none", n=2)]
    assert [len(group) for group in compatible_groups(list(map(identify, cfgs)))] == [2, 2]
    cfgs = [configure("+method=none", *TINY, own, f"seed={s}") for s in range(2)]
    assert [len(group) for group in compatible_groups(list(map(identify, cfgs)))] == [1, 1]
    assert "tests.methods.test_optimizers.Scaled are trained one by one, not fused" in capsys.readouterr().out


def half_frozen(n_classes: int, in_features: int):
    net = nn.Sequential(nn.Flatten(), nn.Linear(in_features, 8), nn.ReLU(), nn.Linear(8, n_classes))
    net[1].requires_grad_(False)
    return net


def test_frozen_weights_stay_and_their_runs_are_not_fused(configure, capsys, tmp_path):
    """A stack would train them."""
    words = ("+method=none", *TINY, "model._target_=tests.train.test_optimizers.half_frozen")
    cfgs = [configure(*words, f"seed={s}") for s in range(2)]
    assert [len(group) for group in compatible_groups(list(map(identify, cfgs)))] == [1, 1]
    assert "some of its weights are not to be trained, and a stack trains all" in capsys.readouterr().out
    job = identify(cfgs[0])
    before = job.module.net.body[1].weight.clone()
    run(cfgs[0])
    assert torch.equal(load_network(job.directory).body[1].weight, before)
