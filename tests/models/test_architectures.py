import hashlib
import math

import pytest
import torch
from torch import nn

from jacexp.errors import ConfigError
from jacexp.models import ARCHITECTURES, Network, build
from jacexp.random import make_generator

SMALL = ["lenet", "convnet_mnist", "convnet_cifar"]
PLAIN = {"Conv2d", "Linear", "ReLU", "MaxPool2d", "ConstantPad2d", "BatchNorm2d", "Flatten"}


def same(a: nn.Module, b: nn.Module) -> list[bool]:
    return [torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True)]


def images(net: Network) -> torch.Tensor:
    """Two images in [0, 1] of the network's size."""
    return torch.rand(2, *net.origin["in_shape"], generator=torch.Generator().manual_seed(0))


def test_the_vgg_runs_on_small_images(make):
    global_state = torch.get_rng_state()
    net = make("vgg16_bn")
    assert torch.equal(torch.get_rng_state(), global_state)
    assert net.training
    assert all(p.isfinite().all() for p in net.state_dict().values()), "uninitialised memory"
    first = net.body.features[0].weight  # N(0, 2/(64·9)); the mean square has deviation √(2/n) of that
    assert first.square().mean().item() == pytest.approx(2 / 576, rel=6 * math.sqrt(2 / first.numel()))
    net.body.classifier.eval()  # dropout draws from the global generator
    logits = net(images(net))
    assert logits.shape == (2, 10)
    assert logits.isfinite().all()
    assert net.body.features[1].num_batches_tracked == 1
    torch.fx.symbolic_trace(net.body)


WEIGHTS = {
    "lenet": "22c84f61285ea676",
    "convnet_mnist": "872b0ed04f75b90b",
    "convnet_cifar": "50fb64e9423c48e0",
    "vgg16_bn": "89bfa8b6b75ccd73",
}
"""SHA-256 of the state that seed 0 has always started from."""


@pytest.mark.parametrize("name", WEIGHTS)
def test_a_seed_has_the_weights_that_it_always_had(make, name):
    if name == "vgg16_bn" and "AVX" not in torch.backends.cpu.get_cpu_capability():
        pytest.skip("normal draws differ in the last bit between vectorised and other CPUs")
    digest = hashlib.sha256()
    for key, tensor in make(name).body.state_dict().items():
        digest.update(key.encode() + tensor.contiguous().numpy().tobytes())
    assert digest.hexdigest().startswith(WEIGHTS[name])


@pytest.mark.parametrize("name", SMALL)
class TestSmallNetworks:
    def test_one_seed_gives_one_network(self, make, name):
        assert all(same(make(name, seed=3), make(name, seed=3)))

    def test_another_seed_gives_other_weights(self, make, name):
        zero, one = make(name, seed=0), make(name, seed=1)
        weights = [equal for equal, p in zip(same(zero, one), zero.parameters(), strict=True) if p.dim() > 1]
        assert not any(weights)

    def test_weights_come_from_the_stream_init_alone(self, make, name):
        global_state = torch.get_rng_state()
        net = make(name, seed=5, init="torch")
        assert torch.equal(torch.get_rng_state(), global_state)
        weight = net.body[0].weight
        bound = 1 / math.sqrt(weight[0].numel())
        expected = torch.empty_like(weight).uniform_(-bound, bound, generator=make_generator(5, "init"))
        assert torch.equal(weight, expected)

    def test_it_is_in_float32_and_in_train_mode(self, make, name):
        n_channels = 3 if name == "convnet_cifar" else 1
        net = make(name, mean=torch.zeros(n_channels, 1, 1, dtype=torch.float64))
        assert {t.dtype for t in net.state_dict().values()} == {torch.float32}
        assert net.training

    def test_its_body_is_made_of_plain_layers_that_fx_can_walk(self, make, name):
        body = make(name, **({"pool": "ceil"} if name != "lenet" else {})).body
        assert {type(layer).__name__ for layer in body} <= PLAIN
        traced = torch.fx.symbolic_trace(body)
        calls = [node.op for node in traced.graph.nodes if node.op not in ("placeholder", "output")]
        assert calls == ["call_module"] * len(body)

    def test_stacked_networks_compute_what_each_one_does(self, make, name):
        nets = [make(name, seed=seed, n_classes=3).double().eval() for seed in range(3)]
        nets[1].normalize.mean += 0.25  # buffers are stacked too
        parameters, buffers = torch.func.stack_module_state(nets)
        x = images(nets[0]).double()

        def logits(parameters, buffers, x):
            return torch.func.functional_call(nets[0], (parameters, buffers), (x,))

        stacked = torch.func.vmap(logits, in_dims=(0, 0, None))(parameters, buffers, x)
        torch.testing.assert_close(stacked, torch.stack([net(x) for net in nets]))


@pytest.mark.parametrize(
    ("name", "switches"),
    [
        ("lenet", {"n_classes": 7}),
        ("convnet_mnist", {"pool": "ceil", "filters": (3, 4)}),
        ("convnet_cifar", {}),
    ],
)
def test_the_origin_makes_the_layers_again(make, name, switches):
    net = make(name, **switches)
    again = build(
        **net.origin, mean=torch.zeros(1, 1, 1).expand_as(net.normalize.mean), std=net.normalize.std, seed=9
    )
    again.load_state_dict(net.state_dict())
    logits = net(images(net))
    assert torch.equal(again(images(net)), logits)
    assert again.n_classes == logits.shape[1]


def test_pixelwise_means_are_allowed(make):
    net = make("lenet", mean=torch.rand(1, 28, 28))
    assert net.normalize.mean.shape == (1, 28, 28)


@pytest.mark.parametrize("name", SMALL)
def test_the_default_init_is_the_protocols(make, name):
    default = {"lenet": "torch"}.get(name, "toolbox")
    assert all(same(make(name), make(name, init=default)))
    other = {"torch": "toolbox", "toolbox": "torch"}[default]
    assert not all(same(make(name), make(name, init=other)))


def test_filter_counts_are_a_switch(make):
    net = make("convnet_cifar", filters=[8, 16, 32])
    assert [layer.out_channels for layer in net.body if isinstance(layer, nn.Conv2d)] == [8, 16, 32]


def test_an_unknown_name_is_an_error_that_lists_the_known_ones(make):
    with pytest.raises(ConfigError, match=f"model='resnet'.*{', '.join(ARCHITECTURES)}"):
        make("resnet")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"in_shape": (28, 28)}, r"in_shape=\(28, 28\)"),
        ({"in_shape": (1, 0, 28)}, r"in_shape=\(1, 0, 28\)"),
        ({"n_classes": 1}, r"n_classes=1"),
        ({"mean": torch.zeros(3, 1, 1)}, r"mean has shape \(3, 1, 1\); choose \(1, 1, 1\) or \(1, 28, 28\)"),
        ({"std": torch.ones(28, 28)}, r"std has shape \(28, 28\)"),
        ({"mean": torch.full((1, 1, 1), float("nan"))}, r"mean of the images is not finite"),
        ({"std": torch.zeros(1, 1, 1)}, r"std of the images must be positive"),
        ({"pool": "ceil"}, r"lenet has neither filters nor pool"),
        ({"filters": (6, 16)}, r"lenet has neither filters nor pool"),
        ({"init": "zeros"}, r"init='zeros'.*toolbox"),
        ({"in_shape": (1, 8, 8)}, r"12×12 or more, not 8×8"),
    ],
)
def test_what_does_not_fit_is_one_clear_error(make, changes, message):
    with pytest.raises(ConfigError, match=message):
        make("lenet", **changes)
