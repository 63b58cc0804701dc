from pathlib import Path

import pytest
import yaml

from jacexp.report import paper
from jacexp.report.select import NOT_A_SWITCH

CONF = Path(__file__).parents[2] / "conf"


def method_file(method: str) -> dict:
    return yaml.safe_load((CONF / "method" / f"{method}.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("method", sorted(path.stem for path in (CONF / "method").glob("*.yaml")))
def test_the_switches_and_the_strength_are_those_of_the_yaml(method):
    keys = {
        k: v for k, v in method_file(method)["method"].items() if k not in ("name", "_target_", *NOT_A_SWITCH)
    }
    strength = paper.STRENGTH.get(method)
    keys.pop(strength, None)
    assert keys == paper.SWITCHES[method]


@pytest.mark.parametrize("method", sorted(paper.STRENGTH))
def test_the_grid_of_the_strength_is_that_of_the_yaml(method):
    strength = paper.STRENGTH[method]
    swept = method_file(method)["grid"][f"method.{strength}"]
    if swept.startswith("$"):
        for protocol, e in (
            ("spectral", paper.EXPERIMENTS["P2"][1]),
            ("spectral_vgg", paper.EXPERIMENTS["P2"][0]),
        ):
            text = yaml.safe_load((CONF / "protocol" / f"{protocol}.yaml").read_text(encoding="utf-8"))[
                "protocol"
            ]["lam"]
            assert paper.grid(e, method)["lam"] == tuple(map(float, text.split(",")))
    else:
        assert paper.grid(paper.EXPERIMENTS["P1"][0], method)[strength] == tuple(map(float, swept.split(",")))


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
    assert conf["data"].get("subset") == experiment.subset
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
