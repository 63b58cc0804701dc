from pathlib import Path

import pytest
import yaml

from jacexp.report import paper

CONF = Path(__file__).parents[2] / "conf"


@pytest.mark.parametrize(
    ("method", "strength", "switches"),
    [
        ("none", None, {}),
        ("spec", "lam", {"n_iter": 1, "power": 1, "detach": True}),
        ("loss_ibp", "beta", {"beta_schedule": "learning_rate", "r": 1, "hessian": False}),
        ("at", "epsilon", {"clip": False}),
        ("of_ones_own", None, {}),
    ],
)
def test_a_methods_strength_and_switches_are_those_of_its_file(method, strength, switches):
    assert paper.strength_of(method) == strength
    assert paper.switches(method) == switches


def test_what_makes_no_other_number_is_no_switch():
    assert "precompute" not in paper.switches("tbp")


def test_grids_are_those_of_the_protocols():
    cifar, kmnist, _ = paper.EXPERIMENTS["P2"]
    assert paper.grid(kmnist, "frob") == {
        "lr": (0.01, 0.001),
        "batch_size": (16, 32),
        "lam": (1e-4, 1e-3, 1e-2, 1e-1),
    }
    assert paper.grid(cifar, "frob") == {"lam": (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)}
    assert paper.grid(paper.EXPERIMENTS["P1"][0], "at")["epsilon"][4:] == (0.03, 0.05, 0.1, 0.3)
    assert paper.grid(paper.EXPERIMENTS["P1"][0], "none") == {}


@pytest.mark.parametrize(
    ("protocol", "experiment"),
    [
        ("ibp", paper.EXPERIMENTS["P1"][0]),
        ("spectral", paper.EXPERIMENTS["P2"][1]),
        ("spectral_vgg", paper.EXPERIMENTS["P2"][0]),
    ],
)
def test_the_experiments_are_those_of_the_protocols(protocol, experiment):
    conf = yaml.safe_load((CONF / "protocol" / f"{protocol}.yaml").read_text(encoding="utf-8"))
    assert conf["train"]["epochs"] == experiment.n_epochs
    assert (conf["data"]["augment"] != "none") == experiment.augmented
    assert conf["grid"]["seed"] == f"range({experiment.n_seeds})"
    assert paper.PROTOCOLS[protocol] == experiment.paper


def test_every_cell_of_both_tables_is_there():
    for name, experiments in paper.EXPERIMENTS.items():
        for e in experiments:
            assert list(paper.TABLE1[name][e.dataset]) == list(paper.METHODS[name])


def test_the_grids_have_the_papers_size():
    cifar, kmnist, _ = paper.EXPERIMENTS["P2"]
    assert [paper.grid_size(kmnist, m) for m in ("spec", "none")] == [16, 4]
    assert [paper.grid_size(cifar, m) for m in ("spec", "none")] == [5, 1]
    mnist = paper.EXPERIMENTS["P1"][0]
    assert [paper.grid_size(mnist, m) for m in ("pred_ibp", "at", "none")] == [9, 8, 1]


def test_experiments_have_names_for_files_and_readers():
    own = paper.Experiment("P2", "kmnist6k", "lenet", 50)
    assert own.slug == "kmnist6k-lenet-50-epochs"
    assert own.title == "kmnist6k, lenet, 50 epochs"
    assert paper.EXPERIMENTS["P2"][1].slug == "kmnist"
    assert paper.size_experiment(1000, augmented=True).title == (
        "MNIST, convnet_mnist, 150 epochs, 1,000 training images, augmented"
    )
