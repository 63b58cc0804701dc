"""The commands that the report names are real: Hydra composes them into the experiment that is missing."""

import shlex
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from jacexp.report import commands
from jacexp.report.paper import EXPERIMENTS, METHODS, PROTOCOLS, SIZES, size_experiment
from jacexp.train.config import register

CONF = str(Path(__file__).parents[2] / "conf")
CELLS = [
    (e, method)
    for paper, experiments in EXPERIMENTS.items()
    for e in experiments
    for method in METHODS[paper]
]


def composed(command):
    """The configuration of a command's first job."""
    python, script, *words = shlex.split(command)
    assert (python, script, words.pop()) == ("python", "train.py", "-m")
    words = [word for word in words if not word.startswith("seed=")]
    register()
    with initialize_config_dir(CONF, version_base="1.3"):
        return compose("config", [word.split(",")[0] for word in words])


def check(cfg, e, method):
    assert (cfg.method.name, cfg.dataset.name, cfg.model.name) == (method, e.dataset, e.model)
    assert (cfg.train.epochs, cfg.data.subset) == (e.n_epochs, e.subset)
    assert PROTOCOLS[cfg.protocol.name] == e.paper
    assert (cfg.data.augment != "none") == e.augmented


@pytest.mark.parametrize(("experiment", "method"), CELLS, ids=lambda x: getattr(x, "dataset", x))
def test_a_cells_command_trains_that_cell(experiment, method):
    check(composed(commands.train(experiment, method, "holdout")), experiment, method)


@pytest.mark.parametrize("augmented", [False, True])
@pytest.mark.parametrize("method", ["none", "pred_ibp"])
def test_figure_4s_command_trains_its_smallest_set(method, augmented):
    smallest = size_experiment(SIZES[0], augmented=augmented)
    check(composed(commands.train_sizes(method, SIZES, smallest, "holdout")), smallest, method)


def test_the_way_of_selection_goes_along():
    command = commands.train(EXPERIMENTS["P2"][1], "spec", "paper")
    assert command == "python train.py +method=spec dataset=kmnist select=paper -m"
    assert composed(command).select == "paper"


def test_evaluations_follow_the_training_of_every_method():
    assert commands.train_and_evaluate("pgd", EXPERIMENTS["P2"][1], ["spec", "none"], "holdout") == (
        "python train.py +method=spec dataset=kmnist -m",
        "python train.py +method=none dataset=kmnist -m",
        "python scripts/evaluate.py eval=pgd dataset=kmnist",
    )
