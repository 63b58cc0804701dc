"""Every logger, alone and in a stack, after a run that was stopped: one run each, with names and hyper-parameters."""

import csv
import importlib.util
import json

import pytest
import yaml

from jacexp.train import loggers
from tests.train.grid import WAYS, grid
from tests.train.stores import results
from tests.train.test_resume import both_ways, stopped_after

EPOCHS = 3
METRICS = {
    "lr",
    "train_loss",
    "train_cross_entropy",
    "train_penalty",
    "train_accuracy",
    "val_loss",
    "val_accuracy",
}
TESTED = {"test_loss", "test_accuracy"}


def needs(package):
    missing = not importlib.util.find_spec(package)
    return pytest.mark.skipif(missing, reason="needs pip install 'jacexp[loggers]'")


@pytest.fixture
def logged(configure, tmp_path, monkeypatch):
    """Train runs with a logger, stop them after the first epoch, go on; gives what they have in the store."""

    def train(logger, way, n=2):
        cfgs = grid(configure, "spec", f"logger={logger}", f"train.epochs={EPOCHS}", n=n)
        stopped_after(3, lambda: WAYS[way](cfgs), monkeypatch)
        WAYS[way](cfgs)
        return results(tmp_path)

    return train


def columns(run):
    """By metric of metrics.csv, its values by epoch."""
    rows = run["metrics"]
    assert len(rows) == EPOCHS
    return {name: [float(row[name]) for row in rows] for name in ("lr", "train_loss", "val_loss")}


@both_ways
def test_csv_has_every_epoch_once(logged, tmp_path, way):
    for name, run in logged("csv", way).items():
        folder = tmp_path / "runs" / name / "csv"
        with (folder / "metrics.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert set(rows[0]) == METRICS | TESTED | {"step"}
        epochs = [row for row in rows if row["train_loss"]]
        assert [row["step"] for row in epochs] == ["0", "1", "2"]
        for metric, values in columns(run).items():
            assert [float(row[metric]) for row in epochs] == pytest.approx(values)
        (last,) = [row for row in rows if row["test_loss"]]
        assert float(last["test_accuracy"]) == run["row"]["n_test_correct"] / run["row"]["n_test"]
        hyper = yaml.safe_load((folder / "hparams.yaml").read_text())
        assert hyper["run"] == name
        assert hyper["train.lr"] == run["row"]["lr"]
        assert hyper["method.lam"] == run["row"]["lam"]


@needs("tensorboard")
@both_ways
def test_tensorboard_has_every_epoch_once(logged, tmp_path, way):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for name, run in logged("tensorboard", way).items():
        events = EventAccumulator(str(tmp_path / "runs" / name / "tensorboard"))
        events.Reload()
        assert set(events.Tags()["scalars"]) >= METRICS | TESTED
        for metric, values in columns(run).items():
            found = events.Scalars(metric)
            assert [event.step for event in found] == [0, 1, 2]
            assert [event.value for event in found] == pytest.approx(values)
        assert "_hparams_/session_start_info" in events.summary_metadata


@needs("mlflow")
@both_ways
def test_mlflow_has_one_run_for_each(logged, tmp_path, way):
    from mlflow.tracking import MlflowClient

    trained = logged("mlflow", way)
    client = MlflowClient(f"file:{tmp_path}/mlruns")
    (experiment,) = [e for e in client.search_experiments() if e.name == "jacexp"]
    found = {run.data.params["run"]: run for run in client.search_runs([experiment.experiment_id])}
    assert found.keys() == trained.keys()
    for name, run in trained.items():
        assert set(found[name].data.metrics) >= METRICS | TESTED
        assert float(found[name].data.params["train.lr"]) == run["row"]["lr"]
        assert found[name].info.status == "FINISHED"
        for metric, values in columns(run).items():
            history = client.get_metric_history(found[name].info.run_id, metric)
            assert [(point.step, point.value) for point in sorted(history, key=lambda p: p.step)] == [
                (step, pytest.approx(value)) for step, value in enumerate(values)
            ]


@needs("wandb")
@both_ways
def test_wandb_names_its_runs_as_ours(logged, tmp_path, way, monkeypatch):
    """A folder for each time that a run was started, all of one run of W&B's."""
    monkeypatch.setenv("WANDB_MODE", "offline")
    for name, run in logged("wandb", way).items():
        folders = sorted((tmp_path / "runs" / name / "wandb").glob("offline-run-*"))
        assert len(folders) == 2 or way == "alone"  # where the second was not begun
        history, config = [], {}
        for folder in folders:
            assert folder.name.endswith(f"-{name}")
            more, settings = read_wandb(next(folder.glob("*.wandb")))
            history, config = history + more, config | settings
        assert float(config["train.lr"]) == run["row"]["lr"]
        assert {key for row in history for key in row} >= METRICS | TESTED
        for metric, values in columns(run).items():
            assert [row[metric] for row in history if metric in row] == pytest.approx(values)


def read_wandb(path):
    """The history and the configuration in a file of W&B's."""
    from wandb.proto import wandb_internal_pb2

    history, config = [], {}
    for data in records(path.read_bytes()):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        if record.HasField("history"):
            items = record.history.item
            history.append({i.key or "/".join(i.nested_key): json.loads(i.value_json) for i in items})
        for update in (*record.run.config.update, *record.config.update):
            config[update.key or update.nested_key[0]] = json.loads(update.value_json)
    return history, config


def records(content, block=32768):
    """What a LevelDB log holds: parts with a checksum, a length and a type (whole, first, middle, last)."""
    at, record = 7, b""  # after W&B's own header
    while at + 7 <= len(content):
        if block - at % block < 7:
            at += block - at % block
            continue
        length, kind = int.from_bytes(content[at + 4 : at + 6], "little"), content[at + 6]
        record += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):
            yield record
            record = b""


def test_a_logger_that_fails_ends_no_training(logged, tmp_path, monkeypatch, capsys):
    def full(*args, **kwargs):
        raise OSError("no space left")

    monkeypatch.setattr(loggers.CSVLogger, "log_metrics", full)
    runs = logged("csv", "fused")
    assert [run["status"] for run in runs.values()] == ["done"] * 2
    assert capsys.readouterr().err.count("the training goes on without: no space left") == 4


def test_a_package_that_is_missing_is_named(configure, monkeypatch):
    from jacexp.errors import ConfigError
    from jacexp.train.job import identify

    monkeypatch.setattr(loggers, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="needs a package: pip install wandb"):
        identify(configure("+method=none", "logger=wandb"))
