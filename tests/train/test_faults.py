"""Full disks, killed processes, damaged files: one clear error, nothing lost, nothing twice."""

import csv
import errno
import io
import json
from pathlib import Path

import pytest
import torch

from jacexp.errors import JacexpError, RunLockedError, StoreError
from jacexp.methods import RegularizedModule
from jacexp.store.checkpoint import load_network
from jacexp.store.merge import merge_runs
from jacexp.train import result as result_module
from jacexp.train import run as run_module
from jacexp.train.job import identify
from jacexp.train.run import run

SHORT = ("+method=none", "data.subset=60", "data.holdout=30", "train.batch_size=20", "train.epochs=2")


class Killed(BaseException):
    """The process is gone: nothing after it is done."""


def rows(results):
    with (results / "runs.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def files(folder):
    return {p: p.read_bytes() for p in folder.rglob("*") if p.is_file() and not p.name.endswith(".lock")}


class FullDisk(io.FileIO):
    def write(self, data):
        super().write(data[: len(data) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(
    "name",
    ["config.yaml", "resume.ckpt", "metrics.csv", "best.ckpt", "last.ckpt", "result.json", "runs.csv"],
)
def test_a_full_disk_leaves_what_was_there_and_starting_again_goes_on(configure, tmp_path, monkeypatch, name):
    words = (*SHORT, "checkpoint=best")
    before = run(configure(*words))
    cfg = configure(*words, "seed=1")
    table = (tmp_path / "runs.csv").read_bytes()
    opened = Path.open

    def open_full(path, mode="r", *args, **settings):
        if path.name.startswith((name, f".{name}.")) and mode in ("wb", "ab"):
            return FullDisk(path, mode)
        return opened(path, mode, *args, **settings)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", open_full)
        with pytest.raises(StoreError, match=r"No space left on device.*is kept.*start again"):
            run(cfg)
    where = identify(cfg).directory
    assert (tmp_path / "runs.csv").read_bytes() == table
    assert (where / "result.json").exists() == (name == "runs.csv")
    assert not list(tmp_path.rglob("*.partial"))
    assert name in ("runs.csv",) or not (where / name).exists()
    after = run(cfg)
    assert [row["run"] for row in rows(tmp_path)] == [before["row"]["run"], after["row"]["run"]]
    assert after["status"] == "done"
    assert not list(where.path.glob("*resume.ckpt*"))


def test_a_full_disk_within_an_epoch_keeps_the_last_checkpoint(configure, tmp_path, monkeypatch):
    cfg = configure(*SHORT)
    resume, opened = identify(cfg).directory / "resume.ckpt", Path.open
    kept = []

    def open_full(path, mode="r", *args, **settings):
        if resume.exists() and path.name.startswith(".resume.ckpt."):
            kept.append(resume.read_bytes())
            return FullDisk(path, mode)
        return opened(path, mode, *args, **settings)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", open_full)
        with pytest.raises(StoreError, match="No space left on device"):
            run(cfg)
    assert kept == [resume.read_bytes()]
    assert run(cfg)["status"] == "done"


def die(*_, **__):
    raise Killed


def merge_and_die(results, directories):
    merge_runs(results, directories)
    raise Killed


def die_within_the_row(results, directories):
    merge_runs(results, directories)
    path = results / "runs.csv"
    path.write_bytes(path.read_bytes()[:-20])
    raise Killed


@pytest.mark.parametrize("merge", [die, die_within_the_row, merge_and_die])
@pytest.mark.parametrize("status", ["done", "diverged"])
def test_a_process_that_dies_while_it_records_leaves_one_row(configure, tmp_path, monkeypatch, merge, status):
    run(configure(*SHORT))
    words = (*SHORT, "seed=1", "train.lr=1e20" if status == "diverged" else "train.lr=0.02")
    cfg = configure(*words)
    with monkeypatch.context() as patch:
        patch.setattr(result_module, "merge_runs", merge)
        with pytest.raises(Killed):
            run(cfg)
    with monkeypatch.context() as patch:
        patch.setattr(run_module, "_train_and_record", die)  # what was measured is not measured again
        result = run(cfg)
    assert result["status"] == status
    run(configure(*SHORT, "seed=2"))
    written = rows(tmp_path)
    assert [row["seed"] for row in written] == ["0", "1", "2"]
    assert written[1]["started"] == result["row"]["started"]


def test_a_run_that_failed_has_the_row_of_its_last_end(configure, tmp_path, monkeypatch):
    cfg = configure(*SHORT)
    with monkeypatch.context() as patch:
        patch.setattr(result_module, "evaluate", lambda *_: 1 / 0)
        with pytest.raises(JacexpError, match="ZeroDivisionError"):
            run(cfg)
    assert [row["status"] for row in rows(tmp_path)] == ["failed"]
    assert run(cfg)["status"] == "done"
    assert [row["status"] for row in rows(tmp_path)] == ["done"]


def test_a_device_without_enough_memory_is_a_failed_run_that_says_what_to_do(configure, monkeypatch):
    cfg = configure(*SHORT)

    def too_large(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    with monkeypatch.context() as patch:
        patch.setattr(RegularizedModule, "training_step", too_large)
        with pytest.raises(JacexpError, match=r"out of memory .*2\.00 GiB.*smaller train\.batch_size"):
            run(cfg)
    assert identify(cfg).directory.result()["status"] == "failed"
    assert run(cfg)["status"] == "done"


def interrupted(configure, monkeypatch, *words):
    cfg = configure(*SHORT, *words)
    with monkeypatch.context() as patch:
        patch.setattr(result_module, "evaluate", die)
        with pytest.raises(Killed):
            run(cfg)
    return cfg, identify(cfg).directory / "resume.ckpt"


def cut(content, other):
    return content[: len(content) // 2]


def flip(content, other):
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def of_another_run(content, other):
    return other.read_bytes()


def of_another_program(content, other):
    file = io.BytesIO()
    torch.save({"state_dict": {}}, file)
    return file.getvalue()


@pytest.mark.parametrize(
    "damage", [lambda *_: b"", lambda *_: b"text", cut, flip, of_another_run, of_another_program]
)
def test_a_checkpoint_that_does_not_fit_is_named_and_kept(configure, tmp_path, monkeypatch, damage):
    _, other = interrupted(configure, monkeypatch, "seed=1")
    cfg, resume = interrupted(configure, monkeypatch)
    resume.write_bytes(damage(resume.read_bytes(), other))
    before = files(tmp_path)
    with pytest.raises(StoreError, match=r"resume\.ckpt is .*delete it and train again"):
        run(cfg)
    assert files(tmp_path) == before
    resume.unlink()
    assert run(cfg)["status"] == "done"


def test_what_killed_processes_left_does_no_harm_and_goes_when_the_run_is_over(configure):
    cfg = configure(*SHORT)
    where = identify(cfg).directory
    where.path.mkdir(parents=True)
    for name in ("resume.ckpt", "metrics.csv", "result.json", "last.ckpt"):
        (where / f".{name}.123.partial").write_text("half")
    run(cfg)
    assert not list(where.path.glob(".*.partial"))
    (where / ".last.ckpt.4.partial").write_text("half")
    (where / "resume.ckpt").write_text("of no use")
    run(cfg)
    assert not list(where.path.glob("*.partial")) + list(where.path.glob("resume.ckpt"))


def test_a_run_that_another_process_trains_is_told_from_other_errors(configure):
    cfg = configure(*SHORT)
    with identify(cfg).directory.locked(), pytest.raises(RunLockedError, match="another process"):
        run(cfg)
    assert run(cfg)["status"] == "done", "the lock goes with its owner"


def test_metrics_are_whole_where_a_process_died_after_its_last_checkpoint(configure, tmp_path, monkeypatch):
    whole, parts = (configure(*SHORT, results=tmp_path / name) for name in ("whole", "parts"))
    run(whole)
    replaced = Path.replace

    def killed(path, target):
        moved = replaced(path, target)
        if target.name in ("resume.ckpt", "metrics.csv"):
            raise Killed
        return moved

    for _ in range(6):
        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", killed)
            with pytest.raises(Killed):
                run(parts)
        if (identify(parts).directory / "resume.ckpt").exists():
            break
    run(parts)
    ends = [identify(cfg).directory for cfg in (whole, parts)]
    assert (ends[0] / "metrics.csv").read_text() == (ends[1] / "metrics.csv").read_text()
    one, two = (load_network(end).state_dict() for end in ends)
    assert all(torch.equal(value, two[key]) for key, value in one.items())
    assert json.loads((ends[1] / "result.json").read_text())["row"]["epoch"] == 1
