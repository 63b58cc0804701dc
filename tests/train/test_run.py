"""One run from configuration to result: repeatable, resumable, and honest about how it ended."""

import csv
import json

import pytest
import torch

from jacexp.data import epoch_order
from jacexp.errors import ConfigError, JacexpError
from jacexp.store.checkpoint import load_network
from jacexp.store.runs import RunDirectory
from jacexp.store.tables import RUNS
from jacexp.train import result as result_module
from jacexp.train.job import identify
from jacexp.train.loaders import loaders
from jacexp.train.module import RegularizedModule
from jacexp.train.recorder import Recorder
from jacexp.train.run import run
from jacexp.train.validation import best_row, evaluate
from tests.laws import METHODS

SHORT = ("data.subset=100", "data.holdout=50", "train.batch_size=20", "train.epochs=3")


def directory(result, results):
    return RunDirectory(results / "runs" / result["row"]["run"])


def weights(result, results, checkpoint="last"):
    return load_network(directory(result, results), checkpoint).state_dict()


def assert_equal_weights(one, other):
    assert one.keys() == other.keys()
    for key, value in one.items():
        assert torch.equal(value, other[key]), key


def test_a_run_leaves_its_files_and_its_row(configure, tmp_path):
    cfg = configure("+method=spec", *SHORT, "method.lam=0.05", "seed=7")
    result = run(cfg)
    where = directory(result, tmp_path)
    assert sorted(p.name for p in where.path.iterdir() if p.name != ".lock") == [
        "config.yaml",
        "last.ckpt",
        "metrics.csv",
        "result.json",
    ]
    assert json.loads((where / "result.json").read_text()) == result
    with (where / "metrics.csv").open() as file:
        epochs = list(csv.DictReader(file))
    assert [row["epoch"] for row in epochs] == ["0", "1", "2"]
    with (tmp_path / "runs.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert list(row) == list(RUNS)
    assert (row["method"], row["lam"], row["beta"], row["seed"], row["status"]) == (
        "spec",
        "0.05",
        "",
        "7",
        "done",
    )
    assert (row["n_train"], row["n_val"], row["n_test"], row["epoch"]) == ("100", "50", "360", "2")
    assert row["val_loss"] == epochs[-1]["val_loss"]
    assert json.loads(row["options"]) == {"detach": True, "n_iter": 1, "power": 1, "data.holdout": 50}


def test_switches_that_are_not_the_protocol_s_stand_in_the_row(configure):
    """So that a table never takes a run with another pool, momentum or mean for the papers'."""
    words = ("+method=none", "protocol=ibp", "data.subset=60", "data.holdout=30", "train.batch_size=20")
    changes = ("model.filters=[2,3]", "model.pool=ceil", "data.mean=pixel", "train.momentum_form=accumulate")
    row = run(configure(*words, *changes, "train.epochs=1"))["row"]
    assert json.loads(row["options"]) == {
        "data.holdout": 30,
        "data.mean": "pixel",
        "model.filters": [2, 3],
        "model.pool": "ceil",
        "train.momentum_form": "accumulate",
    }


def test_the_recorded_counts_are_those_of_the_stored_network(configure, tmp_path):
    cfg = configure("+method=none", *SHORT, "train.lr=0.05")
    result = run(cfg)
    job = identify(cfg)
    net = load_network(directory(result, tmp_path))
    _, val, test = loaders(job, torch.device("cpu"))
    for images, part in ((val, "val"), (test, "test")):
        logits = net(images.x / 255)
        correct = (logits.argmax(1) == images.y).sum().item()
        found = evaluate(net, images).counts()
        assert result["row"][f"n_{part}_correct"] == correct == found["n_correct"]
        loss = torch.nn.functional.cross_entropy(logits, images.y).item()
        assert result["row"][f"{part}_loss"] == pytest.approx(loss, rel=1e-6)


@pytest.mark.parametrize("method", ["none", "spec", "tbp"])
def test_two_runs_of_one_seed_are_equal_bit_for_bit(configure, tmp_path, method):
    results = [tmp_path / name for name in ("a", "b")]
    first, second = (
        run(configure(f"+method={method}", "protocol=spectral", *SHORT, results=r)) for r in results
    )
    assert_equal_weights(weights(first, results[0]), weights(second, results[1]))
    other = run(configure(f"+method={method}", "protocol=spectral", *SHORT, "seed=1"))
    assert other["row"]["run"] != first["row"]["run"]
    assert any(
        not torch.equal(v, weights(first, results[0])[k])
        for k, v in weights(other, tmp_path).items()
        if "weight" in k
    )


def test_a_run_does_not_depend_on_the_global_generator(configure, tmp_path):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = run(configure("+method=frob", *SHORT, results=tmp_path / "a"))
    assert torch.equal(torch.get_rng_state(), before), "and it leaves it where it was"
    torch.manual_seed(6)
    second = run(configure("+method=frob", *SHORT, results=tmp_path / "b"))
    assert_equal_weights(weights(first, tmp_path / "a"), weights(second, tmp_path / "b"))


def test_every_epoch_sees_each_image_once_in_an_order_of_its_own(configure, monkeypatch):
    seen: list[torch.Tensor] = []
    plain = RegularizedModule.training_step

    def watched(self, batch, batch_idx):
        seen.append(batch.x.flatten(1).double() @ torch.arange(784.0).double())
        return plain(self, batch, batch_idx)

    monkeypatch.setattr(RegularizedModule, "training_step", watched)
    cfg = configure("+method=none", *SHORT)
    run(cfg)
    job = identify(cfg)
    marks = (job.data.x_train / 255).flatten(1).double() @ torch.arange(784.0).double()
    for epoch, order in enumerate(torch.cat(seen).view(3, 100)):
        torch.testing.assert_close(order, marks[epoch_order(100, 0, epoch)])


def test_a_run_that_is_over_is_left_alone(configure, capsys):
    cfg = configure("+method=none", *SHORT)
    first = run(cfg)
    capsys.readouterr()
    assert run(cfg) == first
    assert "nothing to do" in capsys.readouterr().out


class Crash(Exception):
    pass


@pytest.mark.parametrize(
    "overrides",
    [("+method=spec",), ("+method=loss_ibp",), ("+method=l2", "train.schedule=cosine", "checkpoint=best")],
)
def test_an_interrupted_run_ends_bit_for_bit_where_it_would_have(configure, tmp_path, monkeypatch, overrides):
    overrides = (*overrides, *SHORT, "train.epochs=4")
    whole = run(configure(*overrides, results=tmp_path / "whole"))
    looked = Recorder.on_train_batch_end

    def crash(self, trainer, module, outputs, batch, batch_idx):
        looked(self, trainer, module, outputs, batch, batch_idx)
        if (trainer.current_epoch, batch_idx) == (2, 3):
            raise Crash

    cfg = configure(*overrides, results=tmp_path / "parts")
    with monkeypatch.context() as patch:
        patch.setattr(Recorder, "on_train_batch_end", crash)
        with pytest.raises(JacexpError, match="failed: Crash"):
            run(cfg)
    parts = run(cfg)
    for checkpoint in {"last", parts["row"]["checkpoint"]}:
        assert_equal_weights(
            weights(parts, tmp_path / "parts", checkpoint), weights(whole, tmp_path / "whole", checkpoint)
        )
    varying = {"train_s", "started", "command"}
    assert {k: v for k, v in parts["row"].items() if k not in varying} == {
        k: v for k, v in whole["row"].items() if k not in varying
    }
    ended = directory(parts, tmp_path / "parts"), directory(whole, tmp_path / "whole")
    assert (ended[0] / "metrics.csv").read_text() == (ended[1] / "metrics.csv").read_text()
    assert not (directory(parts, tmp_path / "parts") / "resume.ckpt").exists()


def test_the_best_epoch_is_the_first_of_the_lowest_validation_loss():
    rows = [
        {"val_loss": loss, "val_n_correct": n} for loss, n in ((0.5, 90), (0.4, 80), (0.4, 85), (0.6, 99))
    ]
    assert best_row(rows) is rows[1]


def test_the_best_epoch_is_the_one_that_is_tested(configure, tmp_path):
    cfg = configure("+method=none", *SHORT, "train.epochs=6", "train.lr=0.3", "checkpoint=best")
    result = run(cfg)
    with (directory(result, tmp_path) / "metrics.csv").open() as file:
        losses = [float(row["val_loss"]) for row in csv.DictReader(file)]
    assert result["row"]["epoch"] == losses.index(min(losses)) < 5, (
        "an example whose best epoch is not its last"
    )
    job = identify(cfg)
    _, val, _ = loaders(job, torch.device("cpu"))
    best = load_network(directory(result, tmp_path), "best")
    assert evaluate(best, val).counts()["loss"] == pytest.approx(min(losses))


def test_a_loss_that_is_not_finite_ends_the_run_as_diverged(configure, tmp_path):
    result = run(configure("+method=none", *SHORT, "train.lr=1e20"))
    assert result["status"] == result["row"]["status"] == "diverged"
    assert "not finite in epoch" in result["error"]
    with (tmp_path / "runs.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert row["status"] == "diverged"
    assert row["n_test_correct"] == ""


def test_a_failed_run_is_recorded_and_tried_again(configure, tmp_path, monkeypatch):
    cfg = configure("+method=none", *SHORT)
    with monkeypatch.context() as patch:
        patch.setattr(result_module, "evaluate", lambda *_: (_ for _ in ()).throw(MemoryError()))
        with pytest.raises(JacexpError, match="failed: MemoryError"):
            run(cfg)
    (failed,) = (tmp_path / "runs").glob("*/result.json")
    assert json.loads(failed.read_text())["status"] == "failed"
    assert run(cfg)["status"] == "done"


def test_a_results_folder_that_is_a_file_is_named(configure, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"file is no folder; name another"):
        run(configure("+method=none", *SHORT, results=tmp_path / "file"))


@pytest.mark.parametrize("precision", ["bf16-mixed", "64"])
@pytest.mark.parametrize("method", METHODS)
def test_other_precisions_train_to_about_the_same_loss(configure, tmp_path, method, precision):
    words = (f"+method={method}", "protocol=spectral", *SHORT, "train.epochs=1")
    single = run(configure(*words, results=tmp_path / "32"))
    other = run(configure(*words, f"train.precision={precision}"))
    assert other["row"]["val_loss"] == pytest.approx(single["row"]["val_loss"], rel=0.02)
