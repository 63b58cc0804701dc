"""scripts/reproduce.py with a stand-in for train.py."""

import importlib.util
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hydra_plugins.jacexp_launcher import config
from jacexp.errors import ConfigError
from jacexp.report.paper import EXPERIMENTS
from tests.report.synthetic import Tables

ROOT = Path(__file__).parents[2]
PATH = ROOT / "jacexp" / "commands" / "reproduce.py"
FMNIST = EXPERIMENTS["P2"][2]
CELL = ["--table", "p2-table1", "--method", "none", "--dataset", "fmnist"]

TRAIN = """
import sys
from pathlib import Path
with Path(sys.argv[1]).open("a") as log:
    print(*sys.argv[2:], file=log)
sys.exit("l2" in sys.argv[2])
"""
"""Writes down what it is told to train; l2 fails."""

SLOW = """
import os, signal, sys, time
from pathlib import Path
def save(*_):
    with Path(sys.argv[1]).with_name("saved").open("a") as file:
        file.write("once ")
    time.sleep(0.3)
    sys.exit(1)
signal.signal(signal.SIGINT, save)
signal.signal(signal.SIGTERM, save)
Path(sys.argv[1]).write_text(f"leads its group: {os.getpgrp() == os.getpid()}")
time.sleep(60)
"""
"""Trains for long, and saves when it is told to stop."""


@pytest.fixture
def reproduce():
    spec = importlib.util.spec_from_file_location("reproduce", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def train(tmp_path):
    """A stand-in for train.py, and the file that it writes to."""
    return [sys.executable, "-c", TRAIN, str(tmp_path / "log")], tmp_path / "log"


def full_cell():
    tables = Tables()
    for lr in (0.01, 0.001):
        for size in (16, 32):
            for seed in range(5):
                tables.run(FMNIST, "none", seed, lr=lr, batch_size=size)
    return tables


def test_nothing_is_trained_where_nothing_is_missing(reproduce, train, tmp_path, capsys):
    full_cell().write(tmp_path / "results")
    words = [*CELL, f"paths.results={tmp_path / 'results'}"]
    assert reproduce.main(words, train[0]) == 0
    assert capsys.readouterr().out == "nothing to do: every run is stored\n"
    assert not train[1].exists()


def test_runs_that_are_stored_without_their_directories_are_not_trained_again(
    reproduce, train, tmp_path, capsys
):
    tables = full_cell()
    del tables.runs[7]
    results = tables.write(tmp_path / "my results")
    assert reproduce.main([*CELL, f"paths.results={results}"], train[0]) == 0
    said = capsys.readouterr().out
    assert "none on fmnist (p2-table1): 1 of 20 runs\n" in said
    assert said.splitlines()[2] == "1 runs in 1 sweeps"
    words = "+method=none dataset=fmnist train.lr=0.01 train.batch_size=32 seed=2"
    assert f"python train.py {words} 'paths.results={results}' -m" in said
    assert train[1].read_text() == f"{words} paths.results={results} -m\n"


def test_what_the_reference_has_is_not_planned_and_goes_to_the_users_folder(
    reproduce, train, tmp_path, monkeypatch, capsys
):
    tables = full_cell()
    del tables.runs[7]
    monkeypatch.setattr("jacexp.report.beside.REFERENCE", tables.write(tmp_path / "results"))
    monkeypatch.chdir(tmp_path)
    assert reproduce.main(CELL, train[0]) == 0
    words = "+method=none dataset=fmnist train.lr=0.01 train.batch_size=32 seed=2 -m"
    assert train[1].read_text() == f"{words}\n"
    assert reproduce.main([*CELL, "reference=false", "--dry"], train[0]) == 0
    assert "20 of 20 runs\n  python train.py +method=none dataset=fmnist -m" in capsys.readouterr().out


def test_a_sweep_that_fails_is_reported_and_stops_nothing(reproduce, train, tmp_path, capsys):
    words = ["--table=p2-table1", "--dataset=kmnist", f"paths.results={tmp_path / 'empty'}"]
    assert reproduce.main(words, train[0]) == 1
    methods = [line.split()[0] for line in train[1].read_text().splitlines()]
    assert methods == [f"+method={m}" for m in ("spec", "frob", "spec_bound", "l2", "none")]
    said = capsys.readouterr().err
    assert "1 of 5 sweeps failed:\n  l2 on kmnist: exit status 1\n    python train.py +method=l2" in said


def test_a_dry_run_prints_the_plan_and_trains_nothing(reproduce, train, tmp_path, capsys):
    words = ["--dry", "select=paper", "--table", "p2-table1", f"paths.results={tmp_path / 'empty'}"]
    assert reproduce.main(words, train[0]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "spec on cifar10 (p2-table1): 25 of 25 runs"
    assert said[1].startswith("  python train.py +method=spec dataset=cifar10 select=paper paths.results=")
    assert said[-1] == "785 runs in 15 sweeps"
    assert not train[1].exists()
    assert not (tmp_path / "empty").exists()


def test_a_launcher_and_its_settings_are_handed_to_every_sweep(reproduce, train, tmp_path, capsys):
    results = f"paths.results={tmp_path}"
    words = ["--table=p2-table1", "--dataset=kmnist", "--method=none,spec", results]
    assert reproduce.main([*words, "--launcher", "fused", "hydra.launcher.n_jobs=1"], train[0]) == 0
    end = f"dataset=kmnist {results} hydra/launcher=fused hydra.launcher.n_jobs=1 -m"
    assert train[1].read_text().splitlines() == [f"+method=spec {end}", f"+method=none {end}"]
    assert f"python train.py +method=spec {end}" in capsys.readouterr().out


def test_launchers_are_those_that_there_are(reproduce, train, tmp_path):
    assert set(reproduce.LAUNCHERS) == {*config.NAMES, "joblib"}
    with pytest.raises(ConfigError, match="invalid choice: 'threads'"):
        reproduce.main(["--launcher=threads", f"paths.results={tmp_path}"], train[0])
    assert not train[1].exists()


def test_make_hands_over_a_launcher_and_hours():
    dry = ["make", "-n", "--no-print-directory", "-o", "setup"]
    command = [*dry, "reproduce-runs", "LAUNCHER=ray", "HOURS=8", "ARGS=hydra.launcher.num_cpus=2"]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "--launcher 'ray' --hours '8'" in said
    assert said.split()[-1] == "hydra.launcher.num_cpus=2"


def test_a_name_that_is_not_there_is_an_error_before_anything_is_trained(reproduce, train, tmp_path):
    with pytest.raises(ConfigError, match="table=p3 is not among"):
        reproduce.main(["--table=p3", f"paths.results={tmp_path}"], train[0])
    assert not train[1].exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_after_the_sweep_has_saved(tmp_path, number):
    stand_in = tmp_path / "slow.py"
    stand_in.write_text(SLOW)
    log = tmp_path / "log"
    code = f"""
import runpy, sys
script = runpy.run_path({str(PATH)!r})
words = ["--table=p2-table1", "--dataset=kmnist", {f"paths.results={tmp_path}"!r}]
sys.exit(script["main"](words, [sys.executable, {str(stand_in)!r}, {str(log)!r}]))
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    parent = subprocess.Popen(
        [sys.executable, "-c", code],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    until = time.monotonic() + 60
    while not log.exists() and time.monotonic() < until:
        time.sleep(0.05)
    # As a terminal does it: to the whole group in its foreground.
    os.killpg(parent.pid, number)
    out, err = parent.communicate(timeout=60)
    assert parent.returncode == 128 + number
    assert (tmp_path / "saved").read_text() == "once "
    assert (
        log.read_text() == "leads its group: True"
    )  # or the terminal's signal would come beside the parent's
    assert "[2/5]" not in out
    assert err == "\nstopped at spec on kmnist; start again to go on\n"


@pytest.fixture
def searched(tmp_path):
    """FashionMNIST with one setting a method, half an hour a run."""
    tables = Tables()
    for method in ("spec", "frob", "spec_bound", "l2", "none"):
        for seed in range(2):
            lam = "" if method == "none" else 0.01
            tables.run(FMNIST, method, seed, lam=lam, lr=0.01, batch_size=32, train_s=1800.0)
    return tables, tmp_path / "results"


def test_hours_are_planned_by_what_is_decided_and_by_the_times_of_runs_like_it(
    reproduce, train, searched, capsys
):
    tables, results = searched
    words = ["--hours", "7", "--dry", f"paths.results={tables.write(results)}"]
    assert reproduce.main(words, train[0]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == (
        "spec on fmnist: 6 runs, about 3.0 hours, "
        "for P2-a/fmnist, P2-b-noise/fmnist, P2-b-attack/fmnist, P2-c/fmnist"
    )
    assert said[1].startswith(
        "  python train.py +method=spec dataset=fmnist train.lr=0.01 train.batch_size=32 "
        "method.lam=0.0001,0.001,0.1 seed=0,1 paths.results="
    )
    assert [line.split()[0] for line in said[0:-2:2]] == ["spec", "frob", "spec_bound"]
    assert said[-2] == "7 hours, of which the runs above are expected to take 9.0"
    assert said[-1].endswith(" more commands come after them")
    assert not train[1].exists()


def test_a_search_decides_which_setting_goes_on(reproduce, searched, tmp_path, capsys):
    tables, results = searched
    tables.write(results)
    code = f"""
import sys
from pathlib import Path
from tests.scripts.test_reproduce import FMNIST, Tables
log = Path({str(tmp_path / "log")!r})
with log.open("a") as file:
    print(*sys.argv[1:], file=file)
if "method.lam=0.0001,0.001,0.1" in sys.argv:
    tables = Tables()
    for lam in (0.0001, 0.001, 0.01, 0.1):
        for seed in range(2):
            val = 0.95 if lam == 0.1 else 0.9
            tables.run(FMNIST, "spec", seed, lam=lam, lr=0.01, batch_size=32, val=val, train_s=1800.0)
    tables.write(Path({str(results)!r}))
"""
    words = ["--hours=1", "--method=spec", "--dataset=fmnist", f"paths.results={results}"]
    assert reproduce.main(words, [sys.executable, "-c", code]) == 0
    begun = (tmp_path / "log").read_text().splitlines()
    assert "method.lam=0.0001,0.001,0.1 seed=0,1 " in begun[0]
    assert "method.lam=0.1 seed=2,3,4 " in begun[1]
    assert "python scripts/evaluate.py" not in capsys.readouterr().err


def test_the_end_of_the_hours_stops_the_sweep_that_runs_and_lets_it_save(
    reproduce, searched, tmp_path, capsys
):
    tables, results = searched
    stand_in, log = tmp_path / "slow.py", tmp_path / "log"
    stand_in.write_text(SLOW)
    words = ["--hours", str(5 / 3600), "--dataset=fmnist", f"paths.results={tables.write(results)}"]
    assert reproduce.main(words, [sys.executable, str(stand_in), str(log)]) == 0
    assert (tmp_path / "saved").read_text() == "once "
    out, err = capsys.readouterr()
    assert err == "\nthe hours are over at spec on fmnist; start again to go on\n"
    assert out.splitlines()[-1] == "  make reproduce-tables"
    assert out.count("[1/") == 1
    assert "[2/" not in out


@pytest.mark.parametrize("hours", ["0", "-1", "nan", "inf", "x"])
def test_hours_are_a_number_above_zero(reproduce, train, tmp_path, hours):
    with pytest.raises(ConfigError, match="--hours"):
        reproduce.main([f"--hours={hours}", f"paths.results={tmp_path}"], train[0])
    assert not train[1].exists()


def test_the_script_runs_without_torch_and_answers_wrong_words(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    code = f"""
import runpy, sys
sys.argv = {["reproduce.py", "--dry", "--method", "spec,none", f"paths.results={tmp_path}"]!r}
try:
    runpy.run_path({str(ROOT / "scripts" / "reproduce.py")!r}, run_name="__main__")
finally:
    assert not {{"torch", "hydra", "matplotlib"}} & set(sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    for line in done.stdout.splitlines():
        assert not line.startswith("  ") or shlex.split(line)[:2] == ["python", "train.py"]
    wrong = subprocess.run(
        [
            sys.executable,
            str(ROOT / "scripts" / "reproduce.py"),
            "--table",
            "p3",
            f"paths.results={tmp_path}",
        ],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (wrong.returncode, wrong.stdout) == (1, "")
    assert wrong.stderr.startswith("error: table=p3 is not among")
    assert wrong.stderr.count("\n") == 1
