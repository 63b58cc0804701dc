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


def test_a_part_of_a_cells_grid_is_trained_by_one_command():
    mnist, fmnist = EXPERIMENTS["P1"][0], EXPERIMENTS["P2"][2]
    cases = [
        (mnist, "at", {"epsilon": [0.03, 0.05]}, "method.epsilon=0.03,0.05"),
        (
            fmnist,
            "spec",
            {"lr": [0.001], "batch_size": [16], "lam": [1e-4]},
            "train.lr=0.001 train.batch_size=16",
        ),
        (EXPERIMENTS["P1"][1], "none", {}, "protocol=ibp seed=0,3"),
        (
            size_experiment(1000, augmented=True),
            "pred_ibp",
            {"beta": [0.1]},
            "data.subset=1000 train.epochs=150",
        ),
    ]
    for e, method, points, words in cases:
        command = commands.train_points(e, method, points, [3, 0], "holdout")
        assert words in command
        assert "seed=0,3" in command
        cfg = composed(command)
        check(cfg, e, method)
        settings = {**cfg.method, "lr": cfg.train.lr, "batch_size": cfg.train.batch_size}
        assert all(settings[column] == values[0] for column, values in points.items())


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
