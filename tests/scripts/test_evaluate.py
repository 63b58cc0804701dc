"""scripts/evaluate.py as a user starts it: filters, wrong words, runs that cannot be evaluated, interruptions."""

import csv
import importlib.util
from pathlib import Path

import pytest
import torch

from jacexp.errors import ConfigError
from tests.evaluate.stores import add_run

PATH = Path(__file__).parents[2] / "jacexp" / "commands" / "evaluate.py"
NOISE = ("eval=white_noise", "eval.sigmas=[0,0.1]", "device=cpu")


@pytest.fixture
def script(tmp_path):
    """The script's module, told where the results are."""
    spec = importlib.util.spec_from_file_location("evaluate", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.start = lambda *words: module.main([*words, f"paths.results={tmp_path}"])
    return module


def rows(results):
    with (results / "curves.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def measured(results):
    """Run and value of each stored point."""
    return [(row["run"], float(row["value"])) for row in rows(results)]


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
    assert script.start(*NOISE, "dataset=digits", "method=spec", "seed=1") == 0
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


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_an_error(script, tmp_path):
    add_run(tmp_path)
    with pytest.raises(ConfigError, match="device=gpu, but PyTorch sees no GPU"):
        script.start("eval=accuracy", "device=gpu")


def test_what_was_measured_is_printed_and_where_it_went(script, tmp_path, capsys):
    add_run(tmp_path, "spec", 0, lam=0.01)
    script.start("eval=white_noise", "eval.sigmas=[0.1,0]", "device=cpu")
    out, err = capsys.readouterr()
    clean, noisy = (
        int(p["n_correct"]) / int(p["n"]) for p in sorted(rows(tmp_path), key=lambda p: p["value"])
    )
    heading, row, last = out.splitlines()
    assert heading.split() == ["sigma", "0", "sigma", "0.1"]
    assert row.split() == [
        "digits,",
        "lenet,",
        "spec,",
        "lam",
        "0.01,",
        "seed",
        "0",
        "(spec-0)",
        f"{clean:.2%}",
        f"{noisy:.2%}",
    ]
    assert last == f"1 of 1 runs are evaluated; see {tmp_path / 'curves.csv'}"
    assert err == "1/1 digits, lenet, spec, lam 0.01, seed 0 (spec-0): 2 points\n"


def test_flags_of_self_checks_are_printed(script, tmp_path, capsys):
    add_run(tmp_path)
    script.start(*NOISE)
    path = tmp_path / "curves.csv"
    path.write_text(path.read_text().replace(',,,,,,,"{', ',,,,,,zero_gradient=9,"{'))
    capsys.readouterr()
    script.start(*NOISE)
    assert capsys.readouterr().out.count("% (zero_gradient=9)") == 2


@pytest.mark.parametrize(
    ("name", "expected"), [("autoattack", (100, None)), ("autoattack_quick", (10, 1000))]
)
def test_autoattack_is_standard_unless_called_quick(script, name, expected):
    cfg, _ = script.configure([f"eval={name}"])
    assert (cfg["settings"]["steps"], cfg["settings"]["n_samples"]) == expected


def test_where_nothing_could_be_measured_no_table_is_printed(script, tmp_path, capsys):
    (add_run(tmp_path) / "last.ckpt").unlink()
    assert script.start(*NOISE) == 1
    assert capsys.readouterr().out == f"0 of 1 runs are evaluated; see {tmp_path / 'curves.csv'}\n"


def test_long_curves_are_printed_from_end_to_end(script, tmp_path, capsys):
    add_run(tmp_path)
    script.start("eval=white_noise", "device=cpu")
    heading = capsys.readouterr().out.splitlines()[0].split()[1::2]
    assert (len(heading), heading[0], heading[-1]) == (6, "0", "0.5")


def test_away_from_a_terminal_a_long_evaluation_is_told_in_lines(script, monkeypatch, capsys):
    monkeypatch.setattr(script, "EVERY_S", 0)
    with script.shown("1/1 a run") as tell:
        tell(250, 10_000)
    assert capsys.readouterr().err == "1/1 a run: 250 of 10,000 images\n"


def test_a_terminal_gets_a_bar_that_goes_when_it_is_done(script, monkeypatch, capsys):
    monkeypatch.setattr(script.sys.stderr, "isatty", lambda: True, raising=False)
    with script.shown("1/1 a run") as tell:
        tell(250, 10_000)
    err = capsys.readouterr().err
    assert err.startswith("\r1/1 a run: ")
    assert err.endswith("\r")
    assert "\n" not in err


def test_the_table_of_runs_is_made_good_and_a_damaged_result_hinders_nobody(script, tmp_path, capsys):
    add_run(tmp_path, seed=0)
    (add_run(tmp_path, seed=1) / "result.json").write_text("{")
    assert script.start(*NOISE) == 0
    assert measured(tmp_path) == [("none-0", 0), ("none-0", 0.1)]
    with (tmp_path / "runs.csv").open(newline="") as file:
        assert [row["run"] for row in csv.DictReader(file)] == ["none-0"]
    assert "none-1/result.json is damaged" in capsys.readouterr().err
