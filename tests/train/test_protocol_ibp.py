"""The protocol of Demyanov et al., section 5: its numbers, its optimiser, its grids, and what is refused."""

import re

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf
from torch import nn

from jacexp.data import Batch, Tangents
from jacexp.errors import ConfigError
from jacexp.models import ARCHITECTURES
from jacexp.store.checkpoint import load_network
from jacexp.store.runs import RunDirectory
from jacexp.train.commandline import checked_arguments
from jacexp.train.config import register
from jacexp.train.job import identify, recipe
from jacexp.train.loaders import loaders
from jacexp.train.run import run
from tests.laws import CONF

BETAS = ["0.0003", "0.001", "0.003", "0.01", "0.03", "0.1", "0.3", "1", "3"]
EPSILONS = ["0.0003", "0.001", "0.003", "0.01", "0.03", "0.05", "0.1", "0.3"]
STRENGTHS = {
    "loss_ibp": ("beta", 0.03, BETAS),
    "pred_ibp": ("beta", 1.0, BETAS),
    "at": ("epsilon", 0.05, EPSILONS),
    "fast_at": ("epsilon", 0.03, EPSILONS),
    "tbp": ("beta", 0.01, BETAS),
    "fast_tbp": ("beta", 0.0003, BETAS),
}
"""Each method's strength, its best value on MNIST in Table 1, and its grid."""
TANGENTS = {
    "beta_schedule": "learning_rate",
    "sigma": 0.9,
    "tangent_unit": "pixel",
    "border": "replicate",
    "precompute": True,
}
SWITCHES = {
    "loss_ibp": {"r": 1, "hessian": False, "beta_schedule": "learning_rate"},
    "pred_ibp": {"softmax": "omitted", "beta_schedule": "learning_rate"},
    "at": {"clip": False},
    "fast_at": {"clip": False},
    "tbp": {**TANGENTS, "softmax": "omitted"},
    "fast_tbp": {**TANGENTS, "signed": False},
}
PROTOCOL = {
    "protocol.name": "ibp",
    "train.batch_size": 32,
    "train.epochs": 80,
    "train.lr": 0.1,
    "train.schedule": "exponential",
    "train.gamma": 0.98,
    "train.momentum": 0.9,
    "train.momentum_form": "average",
    "data.subset": 10_000,
    "data.mean": "channel",
    "data.std": "none",
    "data.augment": "none",
    "model.pool": "floor",
    "select": "holdout",
    "checkpoint": "last",
}
FILTERS = {"convnet_mnist": (32, 64), "convnet_cifar": (64, 64, 64)}
SHORT = ("data.subset=60", "data.holdout=30", "train.batch_size=20", "train.epochs=3")


def composed(*overrides):
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("config", [*overrides], return_hydra_config=True)


def jobs(*overrides):
    """What a bare ``-m`` would run, one {key: value} a job."""
    grid = composed(*overrides).hydra.sweeper.params
    parsed = OverridesParser.create().parse_overrides([f"{key}={value}" for key, value in grid.items()])
    (batch,) = BasicSweeper.split_arguments(parsed, max_batch_size=None)
    return [dict(word.split("=") for word in job) for job in batch]


@pytest.mark.parametrize(("dataset", "network"), [("mnist", "convnet_mnist"), ("cifar10", "convnet_cifar")])
@pytest.mark.parametrize("method", STRENGTHS)
def test_a_method_alone_brings_every_number_of_the_paper(method, dataset, network):
    cfg = composed(f"+method={method}", f"dataset={dataset}")
    assert {key: OmegaConf.select(cfg, key) for key in PROTOCOL} == PROTOCOL
    strength, best, _ = STRENGTHS[method]
    given = {k: v for k, v in cfg.method.items() if k not in ("name", "_target_")}
    assert given == {strength: best, **SWITCHES[method]}
    assert (cfg.model.name, cfg.model.init, cfg.model.filters) == (network, None, None)
    assert (ARCHITECTURES[network].init, ARCHITECTURES[network].filters) == ("toolbox", FILTERS[network])


@pytest.mark.parametrize(
    "words", [("dataset=mnist",), ("dataset=cifar10", "protocol=ibp"), ("dataset=fmnist", "protocol=ibp")]
)
def test_plain_training_has_the_same_protocol(words):
    cfg = composed("+method=none", *words)
    assert {key: OmegaConf.select(cfg, key) for key in PROTOCOL} == PROTOCOL
    assert cfg.model.name.startswith("convnet")
    assert jobs("+method=none", *words) == [{"seed": str(s)} for s in range(10)]


@pytest.mark.parametrize("dataset", ["mnist", "cifar10"])
@pytest.mark.parametrize("method", STRENGTHS)
def test_a_bare_sweep_is_every_strength_on_ten_subsets(method, dataset):
    strength, _, grid = STRENGTHS[method]
    found = jobs(f"+method={method}", f"dataset={dataset}")
    expected = {(value, str(seed)) for value in grid for seed in range(10)}
    assert {(job[f"method.{strength}"], job["seed"]) for job in found} == expected
    assert len(found) == len(expected)
    (promised,) = re.findall(r"\((\d+) runs:", (CONF / "method" / f"{method}.yaml").read_text())
    assert len(found) == int(promised), "the header of the method's file says how many"


def test_momentum_is_an_average_and_the_learning_rate_falls_each_epoch():
    """v <- m v + (1 - m) g, w <- w - α v with α = 0.1 · 0.98^epoch, on a loss with gradient w - 3."""
    average, accumulate = (
        recipe(composed("+method=none", "protocol=ibp", f"train.momentum_form={form}"))
        for form in ("average", "accumulate")
    )
    layer = nn.Linear(1, 1, bias=False, dtype=torch.float64)
    nn.init.ones_(layer.weight)
    w, v = 1.0, 0.0
    optimizer = average.make_optimizer(layer)
    for epoch in range(4):
        optimizer.param_groups[0]["lr"] = average.step_size(epoch)
        for _ in range(3):
            layer.weight.grad = layer.weight.detach() - 3
            optimizer.step()
            v = 0.9 * v + (1 - 0.9) * (w - 3)
            w = w - 0.1 * 0.98**epoch * v
            assert layer.weight.item() == pytest.approx(w, rel=1e-14)
    assert accumulate.step_size(7) == pytest.approx(10 * average.step_size(7))
    assert average.lr_at(79) == pytest.approx(0.1 * 0.98**79)


def test_a_run_is_the_recursion_written_out(configure, tmp_path):
    """Three epochs of train.py against the paper's update, in float64, from the same weights in the same order."""
    small = ("data.subset=20", "train.batch_size=10", "model.filters=[2,3]", "train.precision=64")
    cfg = configure("+method=loss_ibp", "method.beta=0.3", *SHORT, *small)
    job = identify(cfg)
    module = job.module.double()
    module.method.engine = "autograd"
    images, _, _ = loaders(job, torch.device("cpu"))
    weights = list(module.net.parameters())
    speeds = [torch.zeros_like(w) for w in weights]
    for epoch in range(3):
        images.set_epoch(epoch)
        module.method.beta = 0.3 * 0.98**epoch
        for batch in images:
            loss = module.terms(Batch(batch.x.double(), batch.y), {}).loss
            for w, v, g in zip(weights, speeds, torch.autograd.grad(loss, weights), strict=True):
                v.mul_(0.9).add_(g, alpha=1 - 0.9)
                w.data.sub_(v, alpha=0.1 * 0.98**epoch)
    result = run(cfg)
    trained = load_network(RunDirectory(tmp_path / "runs" / result["row"]["run"]))
    expected = {key: value.to(trained.state_dict()[key]) for key, value in module.net.state_dict().items()}
    torch.testing.assert_close(trained.state_dict(), expected, rtol=1e-6, atol=1e-7)


def test_a_subset_has_its_own_images_weights_and_validation(configure):
    first, second = (identify(configure("+method=at", *SHORT, f"seed={seed}")) for seed in (0, 1))
    assert (len(first.data.x_train), len(first.data.x_val), len(first.data.x_test)) == (60, 30, 360)
    assert not torch.equal(first.data.x_train, second.data.x_train)
    assert not torch.equal(first.module.net.body[0].weight, second.module.net.body[0].weight)
    train, val = ({image.numpy().tobytes() for image in x} for x in (first.data.x_train, first.data.x_val))
    assert not train & val
    paper = identify(configure("+method=at", *SHORT, "select=paper"))
    assert torch.equal(paper.data.x_val, paper.data.x_test)
    assert torch.equal(paper.data.x_train, first.data.x_train)


def test_the_switches_that_the_paper_leaves_open_reach_the_network(configure):
    default, other = (
        identify(configure("+method=none", "protocol=ibp", *SHORT, *words)).module.net
        for words in ((), ("data.mean=pixel", "model.pool=ceil", "model.init=torch", "model.filters=[4,6]"))
    )
    assert default.normalize.mean.shape == (1, 1, 1)
    assert default.normalize.std.eq(1).all()
    assert not default.body[0].bias.any()
    assert not any(isinstance(m, nn.ConstantPad2d) for m in default.body)
    assert other.normalize.mean.shape == (1, 28, 28)
    assert other.body[0].bias.any()
    assert any(isinstance(m, nn.ConstantPad2d) for m in other.body)
    assert [m.out_channels for m in other.body if isinstance(m, nn.Conv2d)] == [4, 6]


@pytest.mark.parametrize("augment", ["affine", "affine_text"])
def test_tangents_follow_the_augmented_images(configure, augment):
    job = identify(configure("+method=tbp", *SHORT, f"data.augment={augment}", "method.precompute=false"))
    images, val, _ = loaders(job, torch.device("cpu"))
    (batch, *_), tangents = list(images), Tangents((1, 28, 28))
    assert torch.equal(batch.tangents, tangents(batch.x))
    drawn = (batch.x[:, None] - job.data.x_train[None] / 255).abs().flatten(2).amax(2).amin(1)
    assert (drawn > 0.1).all(), "no image is as it was"
    assert next(iter(val)).tangents is None


def test_tangents_are_computed_once_otherwise(configure):
    job = identify(configure("+method=tbp", *SHORT))
    images, _, _ = loaders(job, torch.device("cpu"))
    assert images.tangents.shape == (60, 5, 1, 28, 28)
    for batch in images:
        torch.testing.assert_close(batch.tangents, Tangents((1, 28, 28))(batch.x))


def test_precomputed_tangents_of_augmented_images_are_refused_with_the_way_to_do_it(configure, tmp_path):
    with pytest.raises(ConfigError, match=r"data\.augment=affine.*method\.precompute=false"):
        run(configure("+method=tbp", *SHORT, "data.augment=affine"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("wrong", ["method.sigma=0", "method.tangent_unit=inch"])
def test_wrong_tangents_are_refused_before_anything_is_written(configure, tmp_path, wrong):
    with pytest.raises(ConfigError, match=wrong.removeprefix("method.").removeprefix("tangent_")):
        run(configure("+method=fast_tbp", *SHORT, wrong))
    assert not list(tmp_path.iterdir())


def test_vectors_are_refused_by_a_network_of_images(configure, tmp_path):
    path = tmp_path / "flat.npz"
    x, y = np.zeros((40, 64), np.uint8), np.arange(40) % 3
    np.savez(path, x_train=x, y_train=y, x_test=x, y_test=y)
    words = ("+method=tbp", "dataset=npz", f"dataset.path={path}", "data.subset=null", "data.holdout=0.2")
    with pytest.raises(ConfigError, match=r"takes images, and these are vectors \(64,\): choose model=mlp"):
        run(configure(*words, results=tmp_path / "results"))
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("method", STRENGTHS)
def test_a_strength_of_the_wrong_name_is_answered_with_the_right_one(configure, tmp_path, method):
    takes = f"takes method.{STRENGTHS[method][0]}"
    with pytest.raises(ConfigError, match=re.escape(takes)):
        run(configure(f"+method={method}", *SHORT, "+method.lam=0.1"))
    assert not list(tmp_path.iterdir())


def test_so_it_is_where_hydra_would_advise_to_append_it():
    """On the command line, ``method.lam=0.1`` without a plus."""
    with pytest.raises(
        ConfigError, match=r"method loss_ibp takes method\.beta, .*method\.r, method\.hessian"
    ):
        checked_arguments(["+method=loss_ibp", "method.lam=0.1"])
