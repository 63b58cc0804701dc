"""The arithmetic floor of a training step, counted from a network's own multiply-adds.

Convolutions and matrix products take almost all of a step. Each of a layer's passes, forward (F), input gradient (Bx)
and weight gradient (Bw), takes the same number of multiply-adds, so a method's floor is a count of passes: plain
training takes F, Bx and Bw, and no Bx in the first layer, whose input gradient nobody asks for.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from jacexp.errors import ConfigError
from jacexp.jacobian.passes import PassesLinearization
from jacexp.jacobian.rules.weighted import Conv2d, Linear

METHODS = ("none", "spec", "frob", "loss_ibp", "fast_tbp", "pred_ibp", "tbp", "at", "fast_at")
"""The methods with a floor: those that are made of passes."""


class Layer(NamedTuple):
    """What a layer's passes cost."""

    multiply_adds: int
    """Of one pass, for one sample."""
    first: bool
    """Whether no layer with parameters comes before it."""
    apart: bool
    """Whether train-mode batch norm comes after it, where the loss's adjoint and the Jacobian's part."""


class Passes(NamedTuple):
    """How often a step goes through a layer."""

    forward: int
    backward: int
    weight: int


def layers_of(net: nn.Module, x: Tensor) -> list[Layer]:
    """Count the multiply-adds of each linear and convolutional layer of a network with rules.

    Args:
        net: the network, in the mode that it will train in; its running statistics stay as they are.
        x: a batch, (B, *in), for the shapes.

    Returns:
        One entry a layer, in the order of the forward pass.
    """
    inputs: dict[int, Tensor] = {}
    outputs: dict[int, Tensor] = {}
    with torch.no_grad():
        lin = PassesLinearization(net, x, inputs.__setitem__, move_statistics=False)
        lin.adjoints(torch.zeros_like(lin.logits), outputs.__setitem__)
    return [
        Layer(
            outputs[number][0].numel() * rule.W[0].numel(),
            not any(lin.program.upstream[i] for i in lin.program.steps[number].inputs),
            lin.apart[number + 1],
        )
        for number, rule in enumerate(lin.rules)
        if isinstance(rule, Linear | Conv2d)
    ]


def passes(method: str, layer: Layer, *, n_iter: int = 1, n_proj: int = 1, n_tangents: int = 5) -> Passes:
    """Count the fewest passes through a layer that a method's step takes.

    Args:
        method: the method's name, as in its YAML.
        layer: the layer.
        n_iter: power iterations of ``spec``.
        n_proj: projections of ``frob``.
        n_tangents: tangents of ``tbp``.

    Returns:
        The passes through a layer.

    Raises:
        ConfigError: for a method without passes of its own.
    """
    kept = not layer.first  # the loss's own Bx ends after the first layer
    again = layer.apart  # the loss's Bx, where it is not the Jacobian's
    if method not in METHODS:
        raise ConfigError(f"method={method!r} is not made of passes; choose one of {', '.join(METHODS)}")
    counts = {
        "none": Passes(1, kept, 1),
        "spec": Passes(2 + n_iter, kept + n_iter, 2),
        "frob": Passes(1 + n_proj, kept + n_proj, 1 + n_proj),
        "loss_ibp": Passes(2, 1 + (again and kept), 1 + again),
        "fast_tbp": Passes(2, 1 + (again and kept), 1 + again),
        "pred_ibp": Passes(2, 1 + kept + (again and kept), 2),
        "tbp": Passes(1 + n_tangents, kept * (1 + n_tangents), 1 + n_tangents),
        "at": Passes(2, 1 + kept + (again and kept), 2),
        "fast_at": Passes(2, 1 + kept, 1),
    }
    return counts[method]


def floor(method: str, layers: list[Layer], **settings: int) -> float:
    """Compute the ratio of a method's multiply-adds to those of plain training.

    Args:
        method: the method's name.
        layers: the network's layers.
        settings: see `passes`.

    Returns:
        The ratio, 1 for ``none``.
    """
    plain = sum(layer.multiply_adds * sum(passes("none", layer)) for layer in layers)
    return sum(layer.multiply_adds * sum(passes(method, layer, **settings)) for layer in layers) / plain
