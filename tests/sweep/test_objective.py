"""What a sweeper of Hydra's is told of each job: the validation loss, infinite if it diverged."""

import csv
import importlib.util
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import HydraContext, RunMode

from hydra_plugins.jacexp_launcher.launcher import JacexpLauncher
from jacexp.commands.train import train
from jacexp.train.config import register

ROOT = Path(__file__).parents[2]
TINY = ["+method=spec", "protocol=own", "data.subset=60", "train.epochs=1", "train.device=cpu"]
RATES = ("0.01", "1e9")


def stored_loss(results, rate):
    with (results / "runs.csv").open(newline="") as file:
        return next(float(row["val_loss"]) for row in csv.DictReader(file) if float(row["lr"]) == float(rate))


def test_the_launcher_returns_the_loss_of_each_job(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["train.py"])
    register()
    words = [*TINY, f"paths.results={tmp_path}", "progress=off"]
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        config = loader.load_configuration("config", words, run_mode=RunMode.MULTIRUN)
        launcher = JacexpLauncher("in_process", fuse=False)
        launcher.setup(
            hydra_context=HydraContext(config_loader=loader, callbacks=None),
            task_function=None,
            config=config,
        )
        jobs = launcher.launch([[*words, f"train.lr={rate}"] for rate in RATES], 0)
    assert [job.return_value for job in jobs] == [stored_loss(tmp_path, "0.01"), math.inf]


@pytest.mark.parametrize("rate", RATES)
def test_train_py_returns_the_loss(configure, tmp_path, monkeypatch, rate):
    words = (*TINY, f"train.lr={rate}")
    monkeypatch.setattr(HydraConfig.instance(), "cfg", configure(*words, hydra=True))
    loss = train(configure(*words))
    assert loss == (math.inf if rate == "1e9" else stored_loss(tmp_path, rate))


@pytest.mark.skipif(not importlib.util.find_spec("optuna"), reason="pip install -e '.[optuna]'")
def test_optuna_finds_the_setting_with_the_lowest_loss(tmp_path):
    words = [
        "hydra/sweeper=optuna",
        "hydra.sweeper.n_trials=3",
        "hydra.sweeper.sampler.seed=1",
        "-m",
    ]
    command = [sys.executable, str(ROOT / "train.py"), *TINY, "method.lam=interval(0.001,10)", *words]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    (path,) = (tmp_path / "my_results" / "sweeps").glob("*/optimization_results.yaml")
    best = yaml.safe_load(path.read_text())
    with (tmp_path / "my_results" / "runs.csv").open(newline="") as file:
        losses = {float(row["lam"]): float(row["val_loss"]) for row in csv.DictReader(file)}
    assert len(losses) == 3
    assert best["best_params"].keys() == {"method.lam"}, "the grid's keys are not searched"
    assert best["best_value"] == min(losses.values()) == losses[best["best_params"]["method.lam"]]
