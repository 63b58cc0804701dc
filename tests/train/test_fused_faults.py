"""Faults that only a stack has, or all of its runs at once: nothing that was done is lost, and the rest goes on."""

import errno
from pathlib import Path

import pytest
import torch

from jacexp.errors import StoreError
from jacexp.store.checkpoint import save_checkpoint
from jacexp.train import fused, recorder
from jacexp.train.fused import train_together
from jacexp.train.groups import compatible_groups
from jacexp.train.job import identify
from jacexp.train.resume import Resume
from jacexp.train.stack import StackTraining
from tests.faults import fill_disk
from tests.results import rows
from tests.train.grid import TINY, grid
from tests.train.stores import assert_same, results
from tests.train.sweeps import ROUNDING, directory, sweep
from tests.train.test_resume import stopped_after


@pytest.fixture
def undisturbed(configure, tmp_path_factory, once={}):  # noqa: B006  # trained once for all tests
    if not once:
        where = tmp_path_factory.mktemp("undisturbed")
        train_together(grid(configure, "none", results=where))
        once |= results(where)
    return once


def foreign(path):
    save_checkpoint(path, {"run": "another", "state": {}})


def test_the_others_of_a_damaged_checkpoint_stay_together(configure, tmp_path, monkeypatch):
    cfgs = grid(configure, "none")
    stopped_after(3, lambda: train_together(cfgs), monkeypatch)
    groups = []
    monkeypatch.setattr(fused, "train_stack", lambda jobs: groups.append([job.cfg.seed for job in jobs]))
    resume = directory(cfgs[1]) / "resume.ckpt"
    foreign(resume)
    with pytest.raises(StoreError, match="not a checkpoint of run"):
        train_together(cfgs)
    resume.write_bytes(b"no checkpoint")
    assert len(compatible_groups([identify(cfg) for cfg in cfgs])) == 1
    with pytest.raises(StoreError, match="damaged"):
        train_together(cfgs)
    assert groups == [[0, 2], [0, 2]]


def test_an_impossible_value_among_good_ones(configure, tmp_path, undisturbed):
    where = tmp_path / "swept"
    cfgs = grid(configure, "none", results=where)
    wrong = configure("+method=none", *TINY, "train.lr=-1", "seed=7", results=where)
    groups, ends = sweep([cfgs[0], wrong, *cfgs[1:]])
    assert groups == [[0, 1, 2]]
    assert "train.lr=-1.0 must be" in str(ends.pop(7))
    assert ends == {0: "done", 1: "done", 2: "done"}
    assert_same(results(where), undisturbed, 0)


def test_a_disk_that_is_full_for_all(configure, tmp_path, monkeypatch, undisturbed):
    cfgs = grid(configure, "none", results=tmp_path / "swept")
    stopped_after(3, lambda: train_together(cfgs), monkeypatch)
    before = [(directory(cfg) / "resume.ckpt").read_bytes() for cfg in cfgs]
    with monkeypatch.context() as patch:
        fill_disk(patch, lambda path: tmp_path in path.parents)
        with pytest.raises(StoreError, match="3 runs cannot write its files"):
            train_together(cfgs)
        _, ends = sweep(cfgs)
    assert all("No space left on device" in str(ends[cfg.seed]) for cfg in cfgs)
    assert [(directory(cfg) / "resume.ckpt").read_bytes() for cfg in cfgs] == before
    assert sweep(cfgs)[1] == {0: "done", 1: "done", 2: "done"}
    assert_same(results(tmp_path / "swept"), undisturbed, 0)


def test_a_folder_that_cannot_be_written_stays_with_its_own_run(
    configure, tmp_path, monkeypatch, undisturbed
):
    cfgs = grid(configure, "none", results=tmp_path / "swept")
    hit, made = directory(cfgs[1]).path, Path.mkdir

    def read_only(path, *args, **settings):
        if path == hit:
            raise OSError(errno.EROFS, "Read-only file system")
        made(path, *args, **settings)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "mkdir", read_only)
        groups, ends = sweep(cfgs)
    assert groups == [[0, 1, 2], [1]]
    assert (ends[0], ends[2]) == ("done", "done")
    assert "cannot be written" in str(ends[1])
    assert "paths.results=DIR" in str(ends[1])
    assert sweep(cfgs) == ([[1]], {0: "done", 1: "done", 2: "done"})
    assert_same(results(tmp_path / "swept"), undisturbed, ROUNDING)


def limited(monkeypatch, most):
    """Let a device have room for so many networks; gives the sizes that were tried."""
    sizes, step = [], StackTraining.training_step

    def training_step(self, batch, batch_idx):
        sizes.append(len(self.alive))
        if sizes[-1] > most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return step(self, batch, batch_idx)

    monkeypatch.setattr(StackTraining, "training_step", training_step)
    return sizes


def test_a_stack_that_does_not_fit_is_halved(configure, tmp_path, monkeypatch, undisturbed):
    with monkeypatch.context() as patch:
        sizes = limited(patch, 2)
        groups, ends = sweep(grid(configure, "none", results=tmp_path / "swept"))
    assert set(sizes) == {3, 1, 2}
    assert (groups, ends) == ([[0, 1, 2]], {0: "done", 1: "done", 2: "done"})
    assert_same(results(tmp_path / "swept"), undisturbed, 0)


def test_memory_that_ends_before_anything_is_saved_begins_with_the_first_weights(
    configure, tmp_path, monkeypatch, undisturbed
):
    sizes, step = [], StackTraining.training_step

    def training_step(self, batch, batch_idx):
        sizes.append(len(self.alive))
        if len(sizes) == 3:
            raise torch.OutOfMemoryError
        return step(self, batch, batch_idx)

    monkeypatch.setattr(StackTraining, "training_step", training_step)
    assert sweep(grid(configure, "none", results=tmp_path / "swept"))[1] == {0: "done", 1: "done", 2: "done"}
    assert (sizes[:3], set(sizes[3:])) == ([3, 3, 3], {1, 2})
    assert_same(results(tmp_path / "swept"), undisturbed, 0)


def test_memory_that_ends_when_some_runs_are_over_trains_no_run_twice(
    configure, tmp_path, monkeypatch, undisturbed
):
    measured, seen = fused.measure, []

    def short_of_memory(job, *args):
        seen.append(job.cfg.seed)
        if len(seen) == 2:
            raise torch.OutOfMemoryError
        return measured(job, *args)

    monkeypatch.setattr(fused, "measure", short_of_memory)
    assert sweep(grid(configure, "none", results=tmp_path / "swept"))[1] == {0: "done", 1: "done", 2: "done"}
    assert seen == [0, 1, 1, 2]
    assert len(rows(tmp_path / "swept")) == 3
    assert_same(results(tmp_path / "swept"), undisturbed, 0)


def test_memory_that_ends_when_some_runs_are_saved_mixes_no_epochs(
    configure, tmp_path, monkeypatch, undisturbed
):
    monkeypatch.setattr(recorder, "SAVE_STACK_EVERY", 0)
    state, seen = StackTraining.state, []

    def short_of_memory(self, n):
        seen.append(n)
        if len(seen) == 6:  # the second save, of the third network
            raise torch.OutOfMemoryError
        return state(self, n)

    cfgs = grid(configure, "none", results=tmp_path / "swept")
    far = []
    stack = fused._Stack

    def watched(jobs):
        far.append([Resume.read(job.directory).batches for job in jobs])
        return stack(jobs)

    monkeypatch.setattr(fused, "_Stack", watched)
    monkeypatch.setattr(StackTraining, "state", short_of_memory)
    assert sweep(cfgs)[1] == {0: "done", 1: "done", 2: "done"}
    assert far == [[0, 0, 0], [2, 2], [1]]
    assert_same(results(tmp_path / "swept"), undisturbed, 0)
