"""Full disks, killed processes, damaged files, alone and in a stack: one clear error, nothing lost, nothing twice."""

import io
import json
import re
from pathlib import Path

import pytest
import torch

from jacexp.errors import JacexpError, RunLockedError, StoreError
from jacexp.store.checkpoint import load_network
from jacexp.store.merge import merge_runs
from jacexp.train import recorder
from jacexp.train import result as result_module
from jacexp.train import run as run_module
from jacexp.train.fused import train_together
from jacexp.train.job import identify
from jacexp.train.module import RegularizedModule
from jacexp.train.run import run
from jacexp.train.stack import StackTraining
from tests.faults import Killed, fill_disk
from tests.results import rows
from tests.train.grid import WAYS, grid
from tests.train.stores import assert_same, results
from tests.train.sweeps import ROUNDING, directory, sweep
from tests.train.test_resume import SIZES, both_ways, stopped_after

SHORT = ("+method=none", "data.subset=60", "data.holdout=30", "train.batch_size=20", "train.epochs=2")
BEST = "checkpoint=best"


def files(folder):
    return {p: p.read_bytes() for p in folder.rglob("*") if p.is_file() and not p.name.endswith(".lock")}


@pytest.fixture
def undisturbed(configure, tmp_path_factory, once={}):  # noqa: B006  # trained once for all tests
    if not once:
        where = tmp_path_factory.mktemp("undisturbed")
        train_together(grid(configure, "none", BEST, results=where))
        once |= results(where)
    return once


def goes_on(cfgs, hit, undisturbed):
    """Assert that the same command trains what one run lacks, and that all end as without the fault."""
    assert sweep(cfgs) == ([[hit.seed]], {cfg.seed: "done" for cfg in cfgs})
    ended = results(directory(hit).results)
    assert_same(ended, {run: undisturbed[run] for run in ended}, ROUNDING)


FILES = ("config.yaml", "resume.ckpt", "metrics.csv", "best.ckpt", "last.ckpt", "result.json")


@pytest.mark.parametrize(
    ("way", "name"),
    [
        *(("alone", name) for name in FILES),
        *(
            pytest.param("fused", name, marks=() if name == "resume.ckpt" else pytest.mark.slow)
            for name in FILES
        ),
    ],
)
def test_a_full_disk_keeps_what_is_there_and_the_same_command_goes_on(
    configure, tmp_path, monkeypatch, undisturbed, way, name
):
    """Full while one run's file is written: the others are trained."""
    monkeypatch.setattr(recorder, "SAVE_STACK_EVERY", 0)
    cfgs = grid(configure, "none", BEST, n=SIZES[way], results=tmp_path)
    *others, hit = cfgs
    where = directory(hit)
    with monkeypatch.context() as patch:
        fill_disk(patch, lambda path: path.parent == where.path and path.name.startswith((name, f".{name}.")))
        groups, ends = sweep(cfgs)
    assert groups[0] == [cfg.seed for cfg in cfgs]
    assert isinstance(error := ends.pop(hit.seed), StoreError)
    assert re.search("No space left on device.*is kept, so make room and start again", str(error))
    assert ends == {cfg.seed: "done" for cfg in others}
    assert not others or [row["seed"] for row in rows(tmp_path)] == [str(seed) for seed in ends]
    assert not (where / name).exists()
    assert not list(tmp_path.rglob("*.partial"))
    goes_on(cfgs, hit, undisturbed)
    assert not list(where.path.glob("*resume.ckpt*"))


def test_a_full_disk_leaves_the_table_as_it_was_and_keeps_the_result(configure, tmp_path, monkeypatch):
    before, cfg = run(configure(*SHORT)), configure(*SHORT, "seed=1")
    table = (tmp_path / "runs.csv").read_bytes()
    with monkeypatch.context() as patch:
        fill_disk(patch, lambda path: path.name.startswith((".runs.csv.", "runs.csv")))
        with pytest.raises(StoreError, match=r"No space left on device.*is kept.*start again"):
            run(cfg)
    assert (tmp_path / "runs.csv").read_bytes() == table
    assert (directory(cfg) / "result.json").exists()
    assert not list(tmp_path.rglob("*.partial"))
    after = run(cfg)
    assert [row["run"] for row in rows(tmp_path)] == [before["row"]["run"], after["row"]["run"]]


def test_a_full_disk_within_an_epoch_keeps_the_last_checkpoint(configure, monkeypatch):
    cfg, kept = configure(*SHORT), []
    resume = directory(cfg) / "resume.ckpt"

    def is_second(path):
        kept.append(resume.exists() and path.name.startswith(".resume.ckpt.") and resume.read_bytes())
        return bool(kept[-1])

    with monkeypatch.context() as patch:
        fill_disk(patch, is_second)
        with pytest.raises(StoreError, match="No space left on device"):
            run(cfg)
    assert list(filter(None, kept)) == [resume.read_bytes()]
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


@both_ways
def test_a_device_without_room_for_one_network_fails_each_run_by_name(configure, monkeypatch, way):
    cfgs = grid(configure, "none", n=SIZES[way])
    seeds = [cfg.seed for cfg in cfgs]

    def too_large(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    with monkeypatch.context() as patch:
        for training in (RegularizedModule, StackTraining):
            patch.setattr(training, "training_step", too_large)
        groups, ends = sweep(cfgs)
    assert groups == ([seeds] if way == "fused" else []) + [[seed] for seed in seeds]
    for cfg in cfgs:
        says = str(ends[cfg.seed])
        assert re.search(r"out of memory .*2\.00 GiB.*smaller train\.batch_size", says)
        assert directory(cfg).result()["status"] == "failed"
    assert sweep(cfgs) == ([seeds], dict.fromkeys(seeds, "done"))


def emptied(content, other):
    return b""


def text(content, other):
    return b"text"


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


DAMAGES = (emptied, text, cut, flip, of_another_run, of_another_program)


@pytest.mark.parametrize(
    ("way", "damage"),
    [*(("alone", d) for d in DAMAGES), *(("fused", d) for d in (cut, of_another_run))],
)
def test_a_checkpoint_that_does_not_fit_is_named_and_kept_and_stays_with_its_own_run(
    configure, tmp_path, monkeypatch, undisturbed, way, damage
):
    cfgs = grid(configure, "none", BEST, n=SIZES[way], results=tmp_path / "swept")
    *others, hit = cfgs
    other = configure(*SHORT, "seed=9", results=tmp_path / "other")
    stopped_after(3, lambda: WAYS[way](cfgs), monkeypatch)
    stopped_after(3, lambda: run(other), monkeypatch)
    resume = directory(hit) / "resume.ckpt"
    resume.write_bytes(damage(resume.read_bytes(), directory(other) / "resume.ckpt"))
    before = files(resume.parent)
    _, ends = sweep(cfgs)
    assert isinstance(error := ends.pop(hit.seed), StoreError)
    assert re.search(r"resume\.ckpt is .*delete it and train again", str(error))
    assert ends == {cfg.seed: "done" for cfg in others}
    assert files(resume.parent) == before
    resume.unlink()
    goes_on(cfgs, hit, undisturbed)


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
