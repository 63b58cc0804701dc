"""scripts/evaluate.py as a user starts it: filters, wrong words, runs that cannot be evaluated, interruptions."""

import csv
import importlib.util
from pathlib import Path

import pytest
import torch

from jacexp.errors import ConfigError, StoreError
from tests.evaluate.stores import add_run

PATH = Path(__file__).parents[2] / "scripts" / "evaluate.py"
NOISE = ("eval=white_noise", "eval.sigmas=[0,0.1]", "device=cpu")


@pytest.fixture
def script(tmp_path):
    """The script's module, told where the results are."""
    spec = importlib.util.spec_from_file_location("evaluate", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.start = lambda *words: module.main([*words, f"paths.results={tmp_path}"])
    return module


def measured(results):
    """Run and value of each stored point."""
    with (results / "curves.csv").open(newline="") as file:
        return [(row["run"], float(row["value"])) for row in csv.DictReader(file)]


def test_every_run_is_evaluated_and_then_skipped(script, tmp_path, capsys):
    for seed in (0, 1):
        add_run(tmp_path, "spec", seed, lam=0.01)
    assert script.start(*NOISE) == 0
    assert measured(tmp_path) == [("spec-0", 0), ("spec-0", 0.1), ("spec-1", 0), ("spec-1", 0.1)]
    before = (tmp_path / "curves.csv").read_bytes()
    capsys.readouterr()
    assert script.start(*NOISE) == 0
    assert (tmp_path / "curves.csv").read_bytes() == before
    assert capsys.readouterr().err.count("stored already") >= 2


def test_filters_are_columns_of_runs(script, tmp_path):
    for method in ("spec", "frob"):
        for seed in (0, 1):
            add_run(tmp_path, method, seed, lam=0.01)
    assert script.start(*NOISE, "dataset=digits", "method=spec,l2", "seed=1") == 0
    assert measured(tmp_path) == [("spec-1", 0), ("spec-1", 0.1)]


def test_an_interruption_leaves_a_store_that_the_next_start_completes(script, tmp_path, monkeypatch):
    for seed in range(3):
        add_run(tmp_path, seed=seed)
    real = script.evaluate_run

    def stopping(results, run, *rest, **others):
        if run.row["seed"] == 1:
            raise KeyboardInterrupt
        return real(results, run, *rest, **others)

    with monkeypatch.context() as patch:
        patch.setattr(script, "evaluate_run", stopping)
        with pytest.raises(KeyboardInterrupt):
            script.start(*NOISE)
    assert {run for run, _ in measured(tmp_path)} == {"none-0"}
    begun = []
    monkeypatch.setattr(script, "evaluate_run", lambda *a, **k: begun.append(real(*a, **k)) or begun[-1])
    assert script.start(*NOISE) == 0
    assert begun == [0, 2, 2]
    assert len(measured(tmp_path)) == len(set(measured(tmp_path))) == 6


def test_a_checkpoint_that_cannot_be_read_is_named_and_the_others_go_on(script, tmp_path, capsys):
    runs = [add_run(tmp_path, seed=seed) for seed in range(5)]
    (runs[0] / "last.ckpt").unlink()
    whole = (runs[1] / "last.ckpt").read_bytes()
    (runs[1] / "last.ckpt").write_bytes(whole[: len(whole) // 2])
    torch.save({"weights": torch.zeros(3)}, runs[2] / "last.ckpt")
    torch.save(torch.zeros(3), runs[3] / "last.ckpt")
    assert script.start(*NOISE) == 1
    errors = [line for line in capsys.readouterr().err.splitlines() if "error:" in line]
    reasons = (
        "is missing",
        "is damaged or foreign",
        "is not a checkpoint of jacexp's",
        "is damaged or no checkpoint",
    )
    assert len(errors) == len(reasons)
    for seed, (line, reason) in enumerate(zip(errors, reasons, strict=True)):
        assert f"none-{seed}" in line
        assert reason in line
    assert {run for run, _ in measured(tmp_path)} == {"none-4"}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("white_noise",), "write key=value, and eval=NAME among them"),
        (("method=spec",), "eval=NAME among them"),
        (("eval=whitenoise",), "eval=whitenoise is unknown; choose one of accuracy"),
        (("eval=../dataset/digits",), "is unknown; choose one of"),
        ((*NOISE, "methd=spec"), "methd is no column"),
        ((*NOISE, "eval.sigma=[0]"), "white_noise has no setting sigma; it has sigmas, seed, batch_size"),
        ((*NOISE, "eval.sigmas=0.1"), r"eval\.sigmas=0\.1: white_noise takes a list of numbers"),
        ((*NOISE, "eval.sigmas=[0,x]"), "takes a list of numbers"),
        ((*NOISE, "eval.sigmas=["), "a setting cannot be read"),
        ((*NOISE, "eval.sigmas=[-1]"), "finite numbers ≥ 0"),
        ((*NOISE, "eval.seed=x"), r"eval\.seed=x: white_noise takes a whole number"),
        ((*NOISE, "eval.seed=true"), "takes a whole number"),
        ((*NOISE, "eval.batch_size=0"), "must be a whole number, 1 or more"),
        (("eval=boundary", "eval.space=foo"), "takes one of pixel, normalised"),
        (("eval=boundary", "eval.clip=1"), "takes true or false"),
        (("eval=square", "eval.n_samples=x"), "takes a whole number or null"),
        ((*NOISE, "paths.result=x"), r"paths\.result=x is unknown; there are eval\.KEY, paths\.results"),
        ((*NOISE, "paths=x"), "paths=x is unknown"),
        ((*NOISE, "paths.data="), r"paths\.data= is empty"),
        ((*NOISE, "device=tpu"), "device=tpu is not one of auto, cpu, gpu"),
    ],
)
def test_a_wrong_word_is_one_error_and_nothing_is_measured(script, tmp_path, words, says):
    for seed in (0, 1):
        add_run(tmp_path, seed=seed)
    with pytest.raises(ConfigError, match=says):
        script.start(*words)
    assert not (tmp_path / "curves.csv").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_an_error(script, tmp_path):
    add_run(tmp_path)
    with pytest.raises(ConfigError, match="device=gpu, but PyTorch sees no GPU"):
        script.start("eval=accuracy", "device=gpu")


def test_a_foreign_table_is_one_error_for_all_runs(script, tmp_path):
    for seed in (0, 1):
        add_run(tmp_path, seed=seed)
    (tmp_path / "curves.csv").write_text("a,b\n")
    with pytest.raises(StoreError, match="has the columns"):
        script.start(*NOISE)


def test_settings_are_checked_before_runs_are_looked_for(script):
    with pytest.raises(ConfigError, match="takes a list of numbers"):
        script.start("eval=white_noise", "eval.sigmas=0.1")
