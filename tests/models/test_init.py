import math

import pytest
import torch
from torch import nn

from jacexp.errors import ConfigError
from jacexp.models import SCHEMES, initialize
from jacexp.models.init import initialized as initialized_body

CONV = (8, 16, 5)  # in, out, kernel: fan_in 200, fan_out 400
N_WEIGHTS = 8 * 16 * 25


def small_body() -> nn.Sequential:
    n_in, n_out, kernel = CONV
    return nn.Sequential(
        nn.Conv2d(n_in, n_out, kernel), nn.BatchNorm2d(n_out), nn.Flatten(), nn.Linear(n_out, 50)
    )


def initialized(scheme: str, seed: int = 0) -> nn.Sequential:
    body = small_body()
    initialize(body, scheme, torch.Generator().manual_seed(seed))
    return body


def test_the_torch_scheme_draws_what_the_constructors_draw():
    ours = initialized("torch", seed=7)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        theirs = small_body()
    for (name, mine), (_, other) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
        torch.testing.assert_close(mine, other, msg=name)


@pytest.mark.parametrize(("layer", "fan_in"), [(0, 200), (3, 16)])
def test_the_toolbox_scheme_is_uniform_between_its_bounds(layer, fan_in):
    weight = initialized("toolbox")[layer].weight
    bound = 0.5 * math.sqrt(2 / fan_in)
    assert weight.abs().max() <= bound
    # each of n draws lies in the outer 5 % with probability 0.05: none of 800 has probability 1e-18
    assert weight.abs().max() > 0.95 * bound
    # the mean square of U(-b, b) is b²/3, its deviation 2b²/√(45 n): six deviations
    assert weight.square().mean().item() == pytest.approx(
        bound**2 / 3, abs=6 * 2 * bound**2 / math.sqrt(45 * weight.numel())
    )


@pytest.mark.parametrize(("layer", "variance"), [(0, 2 / 400), (3, 1e-4)])
def test_the_torchvision_scheme_has_the_variances_of_its_vgg(layer, variance):
    weight = initialized("torchvision")[layer].weight
    # the mean square of N(0, s²) has deviation s²√(2/n): six deviations
    assert weight.square().mean().item() == pytest.approx(
        variance, abs=6 * variance * math.sqrt(2 / weight.numel())
    )
    assert weight.abs().max() > 2 * math.sqrt(variance), "a uniform draw would end at √3 deviations"


@pytest.mark.parametrize(("layer", "deviation"), [(0, 0.01), (3, 0.1)])
def test_the_toolbox_of_2015_is_normal(layer, deviation):
    weight = initialized("toolbox_2015")[layer].weight
    # the mean square of N(0, s²) has deviation s²√(2/n): six deviations
    assert weight.square().mean().item() == pytest.approx(
        deviation**2, abs=6 * deviation**2 * math.sqrt(2 / weight.numel())
    )
    assert weight.abs().max() > 2 * deviation, "a uniform draw would end at √3 deviations"


@pytest.mark.parametrize("layer", [0, 3])
def test_the_small_scheme_is_uniform_whatever_the_layer(layer):
    weight = initialized("toolbox_small")[layer].weight
    assert 0.95 * 0.005 < weight.abs().max() <= 0.005
    assert weight.square().mean().item() == pytest.approx(
        0.005**2 / 3, abs=6 * 2 * 0.005**2 / math.sqrt(45 * weight.numel())
    )


@pytest.mark.parametrize("scheme", ["toolbox", "toolbox_small", "toolbox_2015", "torchvision"])
def test_biases_start_at_zero(scheme):
    body = initialized(scheme)
    assert not body[0].bias.any()
    assert not body[3].bias.any()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_layers_without_a_bias_are_welcome(scheme):
    layer = nn.Conv2d(1, 2, 3, bias=False)
    initialize(layer, scheme, torch.Generator().manual_seed(0))
    assert layer.weight.any()


def test_an_unknown_scheme_is_an_error_that_lists_the_known_ones():
    with pytest.raises(
        ConfigError, match=r"init='xavier'.*toolbox, toolbox_small, toolbox_2015, torch, torchvision"
    ):
        initialized("xavier")


class Transformer(nn.Module):
    """Positions, a token and a table beside layers that draw in their own ways."""

    def __init__(self):
        super().__init__()
        self.positions = nn.Parameter(0.02 * torch.randn(5, 8))
        self.token = nn.Embedding(3, 8)
        self.norm = nn.LayerNorm(8)
        self.attention = nn.MultiheadAttention(8, 2)
        self.recurrent = nn.GRU(8, 8)
        self.batch_norm = nn.BatchNorm1d(8)
        self.head = nn.Linear(8, 4)
        self.register_buffer("table", torch.linspace(0, 1, 5), persistent=False)


def tensors(body):
    return dict([*body.named_parameters(), *body.named_buffers()])


def test_layers_of_any_kind_keep_their_own_initialisation_drawn_from_the_seed_alone():
    bodies = []
    for seed, elsewhere in ((0, 1), (0, 2), (3, 1)):
        torch.manual_seed(elsewhere)
        before = torch.get_rng_state()
        bodies.append(tensors(initialized_body(Transformer, "toolbox", seed)))
        assert torch.equal(torch.get_rng_state(), before)
    one, again, other = bodies
    assert all(torch.equal(one[name], again[name]) for name in one)
    drawn = ["positions", "token.weight", "attention.in_proj_weight", "recurrent.weight_hh_l0", "head.weight"]
    assert not any(torch.equal(one[name], other[name]) for name in drawn)
    assert one["positions"].std().item() == pytest.approx(0.02, rel=0.5)
    assert torch.equal(one["norm.weight"], torch.ones(8))
    assert torch.equal(one["batch_norm.running_var"], torch.ones(8))
    assert torch.equal(one["table"], torch.linspace(0, 1, 5))
    assert not one["head.bias"].any(), "the scheme draws what it knows"


def forgotten(kind):
    def make():
        net = nn.Sequential(nn.Linear(2, 2))
        if kind == "parameter":
            net.scale = nn.Parameter(torch.empty(3))
        elif kind == "buffer":
            net.register_buffer("scale", torch.empty(3, dtype=torch.int64))
        elif kind == "meta":
            net.scale = nn.Parameter(torch.ones(3, device="meta"))
        else:
            net.scale = nn.UninitializedParameter()
        return net

    return make


@pytest.mark.parametrize("kind", ["parameter", "buffer", "meta", "lazy"])
def test_what_nothing_initialises_is_refused_by_name(kind):
    with pytest.raises(ConfigError, match=r"Sequential\.scale has no initial value"):
        initialized_body(forgotten(kind), "torch", 0)
    assert not torch.are_deterministic_algorithms_enabled()
