import math

import pytest
import torch
from torch import nn

from jacexp.errors import ConfigError
from jacexp.models import SCHEMES, initialize

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


@pytest.mark.parametrize("scheme", ["toolbox", "torchvision"])
def test_biases_start_at_zero(scheme):
    body = initialized(scheme)
    assert not body[0].bias.any()
    assert not body[3].bias.any()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_batch_norm_starts_as_the_identity(scheme):
    body = small_body()
    norm = body[1]
    with torch.no_grad():
        for tensor in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
            tensor.fill_(7)
        norm.num_batches_tracked.fill_(7)
    initialize(body, scheme, torch.Generator().manual_seed(0))
    assert (norm.weight == 1).all()
    assert (norm.running_var == 1).all()
    assert not norm.bias.any()
    assert not norm.running_mean.any()
    assert norm.num_batches_tracked == 0


@pytest.mark.parametrize("scheme", SCHEMES)
def test_layers_without_a_bias_are_welcome(scheme):
    layer = nn.Conv2d(1, 2, 3, bias=False)
    initialize(layer, scheme, torch.Generator().manual_seed(0))
    assert layer.weight.any()


def test_an_unknown_scheme_is_an_error_that_lists_the_known_ones():
    with pytest.raises(ConfigError, match=r"init='xavier'.*toolbox, torch, torchvision"):
        initialized("xavier")
