"""A multilayer perceptron, for vectors and for images read as such."""

from collections.abc import Sequence
from itertools import pairwise
from math import prod

from torch import nn

from jacexp.errors import ConfigError


def mlp(in_shape: tuple[int, ...], n_classes: int, hidden: Sequence[int] = (256, 256)) -> nn.Sequential:
    """Build linear layers of the widths ``hidden``, each with a ReLU, and one to the logits.

    Args:
        in_shape: of an input, (D,) or (C, H, W).
        n_classes: the number of logits.
        hidden: the widths, 1 or more each; none makes the network linear.

    Returns:
        The body, with the initial weights of PyTorch's layers.

    Raises:
        ConfigError: for a width below 1.
    """
    if hidden and min(hidden) < 1:
        raise ConfigError(f"model.hidden={list(hidden)} must be widths of 1 or more")
    widths = (prod(in_shape), *hidden)
    layers: list[nn.Module] = [nn.Flatten()]
    for n_in, n_out in pairwise(widths):
        layers += [nn.Linear(n_in, n_out), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(widths[-1], n_classes))
