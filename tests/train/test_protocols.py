"""What is chosen for a data set and a method, and what the line before a training tells of it."""

import csv
import shutil
import sys
import warnings
from pathlib import Path

import pytest

from jacexp.errors import StoreError
from jacexp.store.runs import RunDirectory
from jacexp.store.tables import RUNS
from jacexp.sweep.engine import plan
from jacexp.train import run as runs
from jacexp.train.job import Job
from jacexp.train.preview import preview
from jacexp.train.run import run
from jacexp.train.trainer import quiet_lightning
from tests.laws import CONF, METHODS

SHORT = ("data.subset=60", "data.holdout=30", "train.batch_size=20", "train.epochs=1")
DATASETS = sorted(path.stem for path in (CONF / "dataset").glob("*.yaml"))


def job(cfg, n_train, n_val, n_test):
    return Job(cfg, None, {"split": {"n_train": n_train, "n_val": n_val}, "n_test": n_test})


@pytest.mark.parametrize("protocol", [(), ("protocol=own",)], ids=["default", "own"])
def test_every_method_can_be_trained_on_the_default_data_set(configure, protocol):
    planned = plan([(m, configure(f"+method={m}", *protocol, "train.epochs=1")) for m in METHODS])
    assert {run.overrides: run.error for run in planned} == dict.fromkeys(METHODS)


def test_the_own_protocol_is_one_budget_for_every_method_and_data_set(configure):
    def budget(method, dataset):
        cfg = configure(f"+method={method}", f"dataset={dataset}", "protocol=own")
        assert cfg.protocol.name == "own"
        return cfg.data, cfg.train, cfg.model if dataset == "fmnist" else None

    (one,) = {str(budget(method, "fmnist")) for method in METHODS}
    assert "'subset': None" in one
    assert len({str(budget("none", dataset)[:2]) for dataset in DATASETS}) == 1


def test_a_protocol_chosen_for_foreign_images_is_pointed_out_and_how_to_compare(configure, monkeypatch):
    def lines(*words, command=()):
        monkeypatch.setattr(sys, "argv", ["train.py", *command])
        return preview([job(configure(*words), 1, 2, 3)], Path("here")).splitlines()

    _, hint = lines("+method=loss_ibp", "dataset=fmnist")
    assert hint == (
        "loss_ibp trains by the protocol of Demyanov et al., whose own data sets are mnist, cifar10; "
        "to compare methods under one protocol: protocol=own"
    )
    for words in (
        "+method=loss_ibp dataset=mnist",
        "+method=spec dataset=fmnist",
        "+method=spec dataset=cifar10",
    ):
        assert len(lines(*words.split())) == 1
    assert len(lines("+method=loss_ibp", "protocol=own")) == 1
    assert len(lines("+method=spec", command=["protocol=spectral"])) == 1, "it was asked for"


def test_the_line_before_a_training_tells_what_varies(configure):
    rates = [
        configure("+method=spec", "dataset=fmnist", f"train.lr={lr}", f"seed={s}")
        for lr in (0.01, 0.001)
        for s in range(5)
    ]
    assert preview([job(cfg, 54_000, 6_000, 10_000) for cfg in rates], Path("results/runs")) == (
        "10 runs of spec lam=0.01 on fmnist (54000 training, 6000 validation, 10000 test images): lenet, "
        "protocol spectral, epochs 50, batch size 32, SGD with lr 0.01|0.001 (constant) and momentum 0.8 (accumulate), "
        "seed 0…4 (5 values), engine auto, CPU; files in results/runs"
    )


def test_a_run_says_first_what_it_trains_and_where_its_files_go(configure, capsys, tmp_path):
    result = run(configure("+method=spec", *SHORT))
    first = capsys.readouterr().out.splitlines()[0]
    assert first.startswith(
        "spec lam=0.01 on digits (60 training, 30 validation, 360 test images): lenet, protocol"
    )
    assert first.endswith(f"files in {tmp_path / 'runs' / result['row']['run']}")


def test_a_diverged_run_says_in_which_epoch_counted_as_in_the_lines(configure, capsys):
    result = run(configure("+method=none", *SHORT, "train.lr=1e20"))
    assert result["row"]["epoch"] == 0
    assert "in epoch 1, at or before its step 3" in result["error"]
    assert ": diverged in epoch 1\n" in capsys.readouterr().out


@pytest.mark.parametrize("row", [["run", "who", "what"], list(RUNS)[:-1]])
def test_a_foreign_table_is_found_before_any_training(configure, tmp_path, monkeypatch, row):
    monkeypatch.setattr(runs, "_train_and_record", lambda job: pytest.fail("it trains"))
    with (tmp_path / "runs.csv").open("w") as file:
        csv.writer(file).writerow(row)
    with pytest.raises(StoreError, match=r"runs\.csv has the columns .*; move it away"):
        run(configure("+method=none", *SHORT))
    assert [path.name for path in tmp_path.iterdir() if path.name[0] != "."] == ["runs.csv"]


def test_a_protocol_of_one_s_own_needs_no_file_of_the_project(configure, tmp_path):
    result = run(configure("+method=none", *SHORT, "protocol.name=mine"))
    assert result["row"]["protocol"] == "mine"
    assert RunDirectory(tmp_path / "runs" / result["row"]["run"]).over()


def test_slurm_s_srun_on_the_machine_is_nothing_to_speak_of(configure, monkeypatch, tmp_path, capsys):
    srun = tmp_path / "bin" / "srun"
    srun.parent.mkdir()
    shutil.copy(sys.executable, srun)
    monkeypatch.setenv("PATH", str(srun.parent), prepend=":")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        quiet_lightning()
        run(configure("+method=none", *SHORT))
