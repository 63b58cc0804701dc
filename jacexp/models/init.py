"""Initial weights, drawn from a generator and nothing else."""

from collections.abc import Callable
from math import sqrt

import torch
from torch import nn

from jacexp.errors import ConfigError

Affine = nn.Conv2d | nn.Linear
"""The layers with weights W (out, in, …) and a bias; fan_in = in·k·k, fan_out = out·k·k."""


def toolbox(layer: Affine, generator: torch.Generator) -> None:
    """W ~ U(−½, ½)·√(2/fan_in), b = 0, as the ConvNet toolbox that Demyanov et al. used."""
    fan_in = layer.weight[0].numel()
    bound = 0.5 * sqrt(2 / fan_in)
    nn.init.uniform_(layer.weight, -bound, bound, generator=generator)
    _zero_bias(layer)


def pytorch(layer: Affine, generator: torch.Generator) -> None:
    """W, b ~ U(−1, 1)/√fan_in, which is what the constructors of torch.nn draw."""
    fan_in = layer.weight[0].numel()
    bound = 1 / sqrt(fan_in)
    nn.init.uniform_(layer.weight, -bound, bound, generator=generator)
    if layer.bias is not None:
        nn.init.uniform_(layer.bias, -bound, bound, generator=generator)


def torchvision(layer: Affine, generator: torch.Generator) -> None:
    """W ~ N(0, 2/fan_out) in convolutions and N(0, 0.01²) in linear layers, b = 0, as torchvision's VGG."""
    if isinstance(layer, nn.Conv2d):
        nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu", generator=generator)
    else:
        nn.init.normal_(layer.weight, 0.0, 0.01, generator=generator)
    _zero_bias(layer)


def _zero_bias(layer: Affine) -> None:
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


SCHEMES: dict[str, Callable[[Affine, torch.Generator], None]] = {
    "toolbox": toolbox,
    "torch": pytorch,
    "torchvision": torchvision,
}
"""The values of the switch ``init``. Batch norm starts as the identity in all of them."""


def initialize(body: nn.Module, scheme: str, generator: torch.Generator) -> None:
    """Give every layer of a body its initial weights, in the order of ``body.modules()``.

    Args:
        body: a network whose parameters all belong to convolutions, linear layers and batch norms.
        scheme: a name in ``SCHEMES``.
        generator: the one source of randomness, on the device of the parameters.

    Raises:
        ConfigError: for an unknown scheme.
    """
    if scheme not in SCHEMES:
        raise ConfigError(f"model.init={scheme!r} is unknown; choose one of {', '.join(SCHEMES)}")
    for layer in body.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            SCHEMES[scheme](layer, generator)
        elif isinstance(layer, nn.BatchNorm2d):
            layer.reset_parameters()
