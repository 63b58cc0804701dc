"""The Python of the README and of docs/, as it is written there."""

import re
import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from jacexp.errors import ConfigError
from jacexp.jacobian import linearize
from jacexp.jacobian.rules.base import RULES
from jacexp.train.stack import StackedMethod
from tests import laws
from tests.networks import normals
from tests.train.test_stack import check, modules

ROOT = Path(__file__).parents[1]


def block_of(section: str, language: str = "python", page: str = "README.md") -> str:
    """The first block of a section in a language."""
    text = (ROOT / page).read_text(encoding="utf-8").split(f"## {section}", 1)[1]
    return re.search(rf"```{language}\n(.*?)```", text, re.DOTALL)[1]


@pytest.fixture
def example() -> dict[str, object]:
    """The names that the example in one's own training loop ends with; its network has batch norm and dropout."""
    code = block_of("The Jacobian in your own training loop")
    with_batch_norm = code.replace(
        "torch.nn.ReLU(),", "torch.nn.BatchNorm1d(64), torch.nn.ReLU(), torch.nn.Dropout(0.5),"
    )
    assert with_batch_norm != code
    names: dict[str, object] = {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        exec(with_batch_norm, names)
    return names


def test_the_library_example_runs_as_it_is_written():
    with torch.random.fork_rng(devices=[]):
        exec(block_of("The Jacobian in your own training loop"), names := {})
    assert all(p.grad.abs().sum() > 0 for p in names["net"].parameters())


def test_the_library_example_takes_one_forward_pass(example):
    net, x = example["net"], example["x"]
    norm = net[2]
    assert norm.num_batches_tracked == 1
    assert torch.allclose(norm.running_mean, 0.1 * net[1](net[0](x)).mean(0))


def test_the_library_example_has_the_shapes_that_it_says(example):
    shapes = {name: tuple(example[name].shape) for name in ("u", "g", "sigma", "loss")}
    assert shapes == {"u": (32, 10), "g": (32, 1, 28, 28), "sigma": (32,), "loss": ()}


OWN = "A regulariser of your own"


@pytest.fixture(params=["as in the README", "with passes"])
def logit_norm(request, tmp_path, monkeypatch):
    """The regulariser of docs/own.md and its YAML, where that page puts them; alone, and with passes."""
    module = ModuleType("mypackage.logit_norm")
    with_passes = request.param == "with passes"
    code = (
        block_of("Passes of one's own", page="docs/passes.md")
        if with_passes
        else block_of(OWN, page="docs/own.md")
    )
    exec(code, module.__dict__)
    monkeypatch.setitem(sys.modules, "mypackage", ModuleType("mypackage"))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    shutil.copytree(laws.CONF / "method", tmp_path / "method")
    (tmp_path / "method" / "logit_norm.yaml").write_text(
        block_of(OWN, "yaml", page="docs/own.md"), encoding="utf-8"
    )
    monkeypatch.setattr(laws, "CONF", tmp_path)
    return "logit_norm"


@pytest.mark.parametrize(
    "law",
    [
        laws.shape_and_sign,
        laws.statistics_move_once,
        laws.strength_zero_is_none,
        laws.gradient_is_that_of_the_value,
    ],
)
def test_the_regulariser_of_ones_own_obeys_every_law(logit_norm, law):
    law(logit_norm)


@pytest.mark.parametrize("net", ["conv", "batch_norm", "attention"])
@pytest.mark.parametrize("law", [laws.independence, laws.order_of_samples])
def test_the_regulariser_of_ones_own_is_each_samples(logit_norm, law, net):
    law(logit_norm, net)


@pytest.mark.parametrize("net", ["lenet", "vgg"])
def test_the_regulariser_of_ones_own_is_the_same_by_both_engines(logit_norm, net):
    laws.engines_agree(logit_norm, net)


def test_the_regulariser_of_ones_own_is_stacked_if_it_has_passes(logit_norm, request):
    together = modules(logit_norm, "batch_norm")
    if "with passes" not in request.node.name:
        with pytest.raises(ConfigError, match="LogitNorm has no explicit passes"):
            StackedMethod(together)
    else:
        check(together, modules(logit_norm, "batch_norm"))


def test_the_rule_of_ones_own_is_that_of_its_layer():
    exec(block_of("A rule of one's own", page="docs/passes.md"), names := {})
    layer = names["MaxOut"]
    try:
        net = torch.nn.Sequential(torch.nn.Linear(6, 8), layer(), torch.nn.Linear(4, 3)).double()
        x, v, u = normals(5, 6), normals(5, 6, seed=1), normals(5, 3)
        by_rule, reference = (linearize(net, x, engine=engine) for engine in ("passes", "autograd"))
        torch.testing.assert_close(by_rule.jvp(v), reference.jvp(v))
        torch.testing.assert_close(by_rule.vjp(u), reference.vjp(u))
        torch.testing.assert_close(by_rule.jvp(torch.cat([v, v])), reference.jvp(v).repeat(2, 1))
    finally:
        del RULES[layer]
