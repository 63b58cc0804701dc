"""Fused is sequential for the papers' other networks, a ConvNet and a VGG with batch norm, and in bf16-mixed."""

import copy
from dataclasses import replace

import pytest
import torch
from pytorch_lightning.plugins.precision import Precision
from torch import nn
from torch.nn.functional import cross_entropy

from jacexp.data import Loader
from jacexp.models import ARCHITECTURES
from jacexp.train.job import identify
from jacexp.train.validation import evaluate
from tests.laws import METHODS, make
from tests.networks import IMAGE, network
from tests.train.grid import WAYS, grid, save_noise
from tests.train.stores import assert_same, results

STEPS_32 = ("train.precision='64'", "train.epochs=8", "checkpoint=best", "data.augment=none")
"""Of float64; without images whose border is constant, where rounding decides which of equal pixels is the largest."""
P1 = ("none", "loss_ibp", "pred_ibp", "at", "fast_at", "tbp", "fast_tbp")
P2 = ("none", "l2", "spec", "frob", "spec_bound")


def by_cost(methods, quick):
    """List the methods, those that take longer in the slow tier."""
    return [m if m in quick else pytest.param(m, marks=pytest.mark.slow) for m in methods]


def assert_fused_is_sequential(configure, where, method, *words, tolerance=1e-9):
    for way, train in WAYS.items():
        train(grid(configure, method, *words, results=where / way))
    assert_same(results(where / "fused"), results(where / "alone"), tolerance)


def test_the_methods_of_both_papers_are_all_there():
    assert {*P1, *P2} == set(METHODS)


@pytest.mark.parametrize("method", by_cost(P1, quick=("loss_ibp",)))
def test_convnet(configure, tmp_path, method):
    noise = save_noise(tmp_path / "noise.npz", (17, 17))
    words = ("protocol=ibp", "model=convnet_mnist", "model.filters=[3,4]", "model.pool=ceil")
    assert_fused_is_sequential(configure, tmp_path, method, *noise, *words, *STEPS_32)


def small_vgg(in_shape, n_classes):
    """vgg16_bn with a 32nd of its filters, dropout and all."""
    from torchvision.models import vgg

    widths = [width if width == "M" else width // 32 for width in vgg.cfgs["D"]]
    features = vgg.make_layers(widths, batch_norm=True)
    classifier = [nn.Linear(16, 16), nn.ReLU(), nn.Dropout(), nn.Linear(16, n_classes)]
    return nn.Sequential(features, nn.AdaptiveAvgPool2d(1), nn.Flatten(), *classifier)


@pytest.mark.slow
@pytest.mark.parametrize("method", P2)
def test_vgg_with_batch_norm(configure, tmp_path, monkeypatch, method):
    monkeypatch.setitem(ARCHITECTURES, "vgg16_bn", replace(ARCHITECTURES["vgg16_bn"], body=small_vgg))
    noise = save_noise(tmp_path / "noise.npz", (32, 32, 3))
    words = ("protocol=spectral_vgg", "model=vgg16_bn")
    assert_fused_is_sequential(configure, tmp_path, method, *noise, *words, *STEPS_32)


def test_a_network_is_validated_by_its_running_statistics_and_they_stay():
    module = make("none", network("dropout_and_batch_norm", dtype=torch.float32))
    before = copy.deepcopy(module.net)
    x = torch.randint(256, (7, *IMAGE), generator=torch.Generator().manual_seed(0)).byte()
    images = Loader(x, torch.arange(7) % 4, batch_size=4, shuffle=False)
    found = evaluate(module, images, Precision()).counts()
    logits = before.eval()(images.x / 255)
    assert found["n_correct"] == (logits.argmax(1) == images.y).sum()
    assert found["loss"] == pytest.approx(cross_entropy(logits, images.y).item())
    assert module.net.training
    for name, buffer in before.named_buffers():
        assert torch.equal(module.net.get_buffer(name), buffer)


@pytest.mark.parametrize("method", by_cost(METHODS, quick=("none", "spec")))
def test_bf16_in_a_stack_is_no_further_from_float32_than_alone(configure, tmp_path, method):
    """After two steps, fused and alone differ by less than twice what the roundings of bf16 do to one alone."""
    words = ("model=lenet", "data.subset=32", "train.epochs=1")
    of = {}
    for precision, way in (("bf16-mixed", "fused"), ("bf16-mixed", "alone"), ("32", "alone")):
        where = tmp_path / precision / way
        cfgs = grid(configure, method, *words, f"train.precision={precision}", results=where)
        WAYS[way](cfgs)
        of[precision, way] = [changed(identify(cfg), results(where)) for cfg in cfgs]
    fused, alone, exact = (
        torch.cat([w / e.norm() for w, e in zip(changes, of["32", "alone"], strict=True)])
        for changes in of.values()
    )
    assert 0 < (fused - alone).norm() < 2 * (alone - exact).norm() < 0.2 * exact.norm()


def changed(job, ended):
    """What the training did to all weights of a network, as one vector."""
    after, before = ended[job.directory.id]["state"]["last"], job.module.net.state_dict()
    names = [f"body.{name}" for name, _ in job.module.net.body.named_parameters()]
    return torch.cat([(after[name] - before[name]).flatten() for name in names])
