"""One run on several devices, here processes on the CPU, is the run of one."""

import csv

import numpy as np
import pytest
import torch

from jacexp.data import Batch
from jacexp.errors import ConfigError
from jacexp.methods.distributed import Share
from jacexp.store.checkpoint import load_network
from jacexp.train import recorder
from jacexp.train.fused import train_together
from jacexp.train.groups import compatible_groups
from jacexp.train.job import identify
from jacexp.train.processes import process_group, run_together
from jacexp.train.run import fit, fit_share, run
from jacexp.train.stop import Stopped
from jacexp.train.trainer import differences
from tests.laws import METHODS, batch, make
from tests.networks import network

# Batches of 8 and 7 rows a process, and a last one of 1 and 0; validation of 10 and 9.
SMALL = (
    *("data.subset=106", "data.holdout=19", "train.batch_size=15", "train.epochs=4", "train.lr=0.02"),
    "train.precision='64'",
)
CASES = {
    **{method: (f"+method={method}", "protocol=spectral") for method in METHODS},
    "autograd": ("+method=spec", "train.engine=autograd", "select=paper"),
    "augmented": ("+method=none", "data.augment=affine", "checkpoint=best"),
    "tangents of each batch": ("+method=tbp", "method.precompute=false"),
}


@pytest.fixture
def noise(tmp_path):
    """Images without a constant background, where maxima tie and rounding alone says which pixel a pool takes."""
    draw = np.random.default_rng(0)
    arrays = {
        f"{kind}_{part}": draw.integers(high, size=(n, *shape), dtype=np.uint8)
        for part, n in (("train", 125), ("test", 20))
        for kind, high, shape in (("x", 256, (28, 28)), ("y", 10, ()))
    }
    np.savez(tmp_path / "noise.npz", **arrays)
    return "dataset=npz", f"dataset.path={tmp_path / 'noise.npz'}"


def stopped(cfg, train, looks):
    """Train until the request to stop that comes just before look number `looks` for one."""
    left = iter(range(looks - 1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recorder, "stop_requested", lambda: next(left, None) is None)
        with pytest.raises(Stopped, match="is saved within epoch"):
            train(cfg)


def fit_all(rank, first, stopping=(), last=()):
    """Train several runs in a process of one group, with some that are asked to stop in between."""
    torch.set_num_threads(1)
    with process_group(rank):
        measured = {name: fit_share(rank, cfg) for name, cfg in first.items()}
        for cfg in stopping:
            # only the second process is asked: the first, which saves, learns it from there
            stopped(cfg, lambda cfg: fit_share(rank, cfg), looks=11 if rank.number else 10**6)
        return {**measured, **{name: fit_share(rank, last[name]) for name in last}}


def composed(configure, tmp_path, noise):
    """Compose runs with results of their own."""

    def case(where, *words):
        cfg = configure(*noise, *SMALL, *words, results=tmp_path / where)
        identify(cfg).directory.path.mkdir(parents=True)
        return cfg

    return case


def ended(cfg, measured):
    """The numbers of a run that is over."""
    directory = identify(cfg).directory
    with (directory / "metrics.csv").open() as file:
        rows = [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]
    state = load_network(directory, cfg.checkpoint).state_dict()
    counts = {key: value for key, value in measured.items() if key != "train_s"}
    return counts, rows, state


def assert_same(name, one, other, tolerance=1e-9):
    (counts, rows, state), (counts_, rows_, state_) = one, other
    assert counts == pytest.approx(counts_, rel=tolerance), name
    assert len(rows) == len(rows_)
    for mine, theirs in zip(rows, rows_, strict=True):
        assert mine == pytest.approx(theirs, rel=tolerance, abs=1e-12), name
    assert state.keys() == state_.keys()
    for key, value in state.items():
        assert (value - state_[key]).norm() <= tolerance * state_[key].norm(), (name, key)


@pytest.mark.slow
def test_two_processes_are_one(configure, tmp_path, noise):
    """32 steps in float64, whatever the method."""
    case = composed(configure, tmp_path, noise)
    two = {name: case(f"two {name}", *words) for name, words in CASES.items()}
    measured = run_together(fit_all, 2, two)
    for name, words in CASES.items():
        cfg = case(f"one {name}", *words)
        assert_same(name, ended(two[name], measured[name]), ended(cfg, fit(identify(cfg))))


def test_a_run_goes_on_with_another_number_of_devices(configure, tmp_path, noise):
    """From the middle of an epoch, as if nothing had been; with the same number bit for bit."""
    case = composed(configure, tmp_path, noise)
    one, two, grown, shrunk, again = (
        case(name, *CASES["spec"]) for name in ("one", "two", "grown", "shrunk", "again")
    )
    stopped(grown, lambda cfg: fit(identify(cfg)), looks=11)
    measured = run_together(fit_all, 2, {"grown": grown, "two": two}, [shrunk, again], {"again": again})
    alone = ended(one, fit(identify(one)))
    assert_same("two", ended(two, measured["two"]), alone)
    assert_same("from one to two", ended(grown, measured["grown"]), alone)
    assert_same("from two to one", ended(shrunk, fit(identify(shrunk))), alone)
    assert_same("from two to two", ended(again, measured["again"]), ended(two, measured["two"]), 0)


def statistics(rank):
    """What each process has after a step and the beginning of the validation: its own sums, and the statistics."""
    with process_group(rank):
        module = make("none", network("batch_norm"))
        module.share = Share(rank.number, rank.of)
        module.training_step(batch(5), 0).backward()
        module.share.copy_buffers(module.net)
        joined = module.sums.joined(module.share)
        return module.share.gather((dict(module.net.named_buffers()), joined.n, joined.means()))


@pytest.mark.slow
def test_running_statistics_are_the_first_process_s_and_sums_are_joined():
    first, second = run_together(statistics, 2)
    assert first[1:] == second[1:]
    assert first[1] == 5
    expected = make("none", network("batch_norm"))
    expected.training_step(Batch(*(part[::2] for part in batch(5))), 0)
    for name, buffer in expected.net.named_buffers():
        assert torch.equal(first[0][name], second[0][name])
        assert torch.equal(first[0][name], buffer)


def test_networks_for_which_it_makes_a_difference_are_warned_of():
    warnings = {name: differences(make("none", network(name))) for name in ("conv", "dropout_and_batch_norm")}
    assert warnings["conv"] == []
    assert [text.partition(" ")[0] for text in warnings["dropout_and_batch_norm"]] == ["batch", "each"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("train.devices=0",), "must be at least 1"),
        (("train.devices=21",), "exceeds train.batch_size=20"),
        (("train.devices=3", "data.holdout=2"), "exceeds the 2 images to validate on"),
        (("train.devices=3", "train.device=gpu"), "sees 2 GPUs here; ask for no more"),
        (("train.devices=3", "train.device=auto"), "sees 2 GPUs here; ask for no more"),
    ],
)
def test_what_cannot_run_is_refused_before_anything_is_written(configure, tmp_path, monkeypatch, words, says):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ConfigError, match=says):
        run(configure("+method=none", "data.subset=60", "data.holdout=30", "train.batch_size=20", *words))
    assert not list(tmp_path.iterdir())


def test_devices_are_no_part_of_a_name_and_such_a_run_is_trained_alone(configure):
    words = ("+method=none", "train.batch_size=20")
    jobs = [identify(configure(*words, f"train.devices={n}")) for n in (1, 2, 1)]
    assert len({job.directory.id for job in jobs}) == 1
    assert sorted(len(group) for group in compatible_groups(jobs)) == [1, 2]


def test_a_run_that_began_in_a_stack_goes_on_on_several_devices(configure, tmp_path, noise):
    whole, parts = (
        configure(*noise, *SMALL, "+method=none", "train.devices=2", results=tmp_path / name) for name in "ab"
    )
    stopped(parts, lambda cfg: train_together([cfg]), looks=11)
    rows = [run(cfg)["row"] for cfg in (whole, parts)]
    assert rows[0]["val_loss"] == pytest.approx(rows[1]["val_loss"], rel=1e-9)
