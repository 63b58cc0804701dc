"""Fused runs end as each would have ended alone."""

import time

import pytest

from jacexp.store.runs import RunDirectory
from jacexp.train import recorder
from jacexp.train.fused import train_together
from jacexp.train.resume import Resume
from tests.laws import METHODS
from tests.train.grid import TINY, WAYS, grid, save_noise
from tests.train.stores import assert_same, results


@pytest.fixture
def noise(tmp_path):
    return save_noise(tmp_path / "noise.npz", (16, 16))


@pytest.mark.parametrize("method", METHODS)
def test_fused_is_sequential(configure, tmp_path, method, noise):
    """32 steps a network in float64."""
    words = (*noise, "model=lenet", "train.precision='64'", "train.epochs=8", "checkpoint=best")
    for way, train in WAYS.items():
        train(grid(configure, method, *words, results=tmp_path / way))
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
    for way, train in WAYS.items():
        cfgs = grid(configure, "none", *words, n=n, results=tmp_path / way)
        train([*cfgs, configure("+method=none", *TINY, "train.lr=0.03", *words, results=tmp_path / way)])
    assert_same(results(tmp_path / "fused"), results(tmp_path / "alone"), 1e-9)


READINGS = {
    "pred_ibp": ("method.beta_schedule=learning_rate", "method.softmax=included"),
    "tbp": ("method.beta_schedule=learning_rate", "method.softmax=included", "method.border=zero"),
    "fast_tbp": ("method.beta_schedule=learning_rate", "method.border=zero"),
    "loss_ibp": ("method.beta_schedule=learning_rate",),
}


@pytest.mark.parametrize("method", READINGS)
def test_fused_is_sequential_in_every_reading(configure, tmp_path, noise, method):
    """Strengths that fall by a half an epoch, so that one epoch's strength in another would show."""
    words = (*noise, "model=lenet", "train.precision='64'", "train.epochs=4", "train.schedule=exponential")
    for way, train in WAYS.items():
        words_of_way = (*words, "train.gamma=0.5", *READINGS[method])
        train(grid(configure, method, *words_of_way, results=tmp_path / way))
    assert_same(results(tmp_path / "fused"), results(tmp_path / "alone"), 1e-9)


def test_a_network_that_diverges_leaves_the_others_alone(configure, tmp_path):
    for way, train in WAYS.items():
        wild = configure("+method=spec", *TINY, "train.lr=1e30", "seed=5", results=tmp_path / way)
        train([*grid(configure, "spec", results=tmp_path / way), wild])
    together, alone = results(tmp_path / "fused"), results(tmp_path / "alone")
    assert sorted(r["status"] for r in together.values()) == ["diverged", "done", "done", "done"]
    assert_same(together, alone, 1e-3)


def test_the_loss_is_looked_at_now_and_then(configure, tmp_path, monkeypatch):
    monkeypatch.setattr(recorder, "CHECK_EVERY", 2)
    for way, train in WAYS.items():
        train([configure("+method=spec", *TINY, "train.lr=1e30", "seed=5", results=tmp_path / way)])
    errors = [read_error(tmp_path / way) for way in WAYS]
    assert errors[0] == errors[1] == "the loss is not finite in epoch 1, at or before its step 2"


def read_error(where):
    (path,) = (where / "runs").iterdir()
    return RunDirectory(path).result()["error"]


def test_who_shares_a_stack_changes_no_bit(configure, tmp_path):
    """So that a kill between two files of a save, which parts a group, changes nothing."""
    train_together(grid(configure, "spec", results=tmp_path / "a"))
    cfgs = grid(configure, "spec", results=tmp_path / "b")
    train_together(cfgs[:1])
    train_together(cfgs)
    assert_same(results(tmp_path / "a"), results(tmp_path / "b"), 0)


def test_the_runs_shares_of_the_time_are_the_time(configure, tmp_path, monkeypatch):
    monkeypatch.setattr(recorder, "SAVE_STACK_EVERY", 0)
    so_far, write = [], Resume.write

    def watched(self, *args):
        so_far.append(self.seconds)
        write(self, *args)

    monkeypatch.setattr(Resume, "write", watched)
    start = time.perf_counter()
    train_together(grid(configure, "none"))
    wall = time.perf_counter() - start
    seconds = [RunDirectory(path).result()["row"]["train_s"] for path in (tmp_path / "runs").iterdir()]
    assert 0 < sum(seconds) < wall
    assert max(seconds) - min(seconds) < 0.002
    assert so_far[::3] == sorted(so_far[::3]), "added up from save to save"
