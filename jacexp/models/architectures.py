"""The networks by name, each with its paper's defaults."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from jacexp.errors import ConfigError
from jacexp.models.convnet import convnet_cifar, convnet_mnist
from jacexp.models.init import initialized
from jacexp.models.lenet import lenet
from jacexp.models.network import Network, Normalize
from jacexp.models.own import own_body
from jacexp.models.vgg import vgg16_bn


@dataclass(frozen=True)
class Architecture:
    """One network of the papers.

    Attributes:
        body: makes its layers from in_shape, n_classes and, where it has these switches, filters and pool.
        init: its default initialisation.
        filters: its default filter counts; empty where the paper fixes all layers, and pooling with them.
    """

    body: Callable[..., nn.Module]
    init: str
    filters: tuple[int, ...] = ()


ARCHITECTURES = {
    "lenet": Architecture(lenet, init="torch"),
    "convnet_mnist": Architecture(convnet_mnist, init="toolbox", filters=(32, 64)),
    "convnet_cifar": Architecture(convnet_cifar, init="toolbox", filters=(64, 64, 64)),
    "vgg16_bn": Architecture(vgg16_bn, init="torchvision"),
}
"""The papers' networks by the name that they have on the command line."""


def build(
    name: str,
    *,
    in_shape: tuple[int, ...],
    n_classes: int,
    mean: Tensor,
    std: Tensor,
    seed: int,
    init: str | None = None,
    pool: str = "floor",
    filters: Sequence[int] | None = None,
    target: str | None = None,
    arguments: Mapping[str, Any] | None = None,
) -> Network:
    """Build a network with its normalisation and its initial weights: float32, on the CPU, in train mode.

    Args:
        name: ``lenet`` (H, W ≥ 12), ``convnet_mnist``, ``convnet_cifar`` or ``vgg16_bn`` (C = 3, H, W ≥ 32); with
            ``target`` any.
        in_shape: (C, H, W) of the images, or (D,) of vectors.
        n_classes: the number of logits, ≥ 2.
        mean: what the normalisation subtracts from pixels in [0, 1], (C, 1, 1) or (C, H, W); of vectors, (D,).
        std: what it divides by, of such a shape, > 0.
        seed: the run's seed; the weights are drawn from its stream ``init`` and from nowhere else.
        init: a name in ``jacexp.models.init.SCHEMES``; None: the network's own.
        pool: ``floor`` or ``ceil``, how the ConvNets' pools round, see ``jacexp.models.convnet``.
        filters: filter counts of the ConvNets, one a convolution; None: (32, 64) or (64, 64, 64).
        target: import path of a class of one's own, whose layers keep their own initialisation unless ``init`` is set.
        arguments: what it is called with, beside what ``jacexp.models.own.from_data`` lists.

    Returns:
        The network.

    Raises:
        ConfigError: for a name, image size, class count, normalisation or switch that does not fit.
    """
    _check_shapes(in_shape, n_classes, mean=mean, std=std)
    origin: dict[str, Any] = {"name": name, "in_shape": tuple(in_shape), "n_classes": n_classes, "init": init}
    if target is not None:
        if filters or pool != "floor":
            raise ConfigError("model.filters and model.pool are the ConvNets' alone: leave both out")
        make, scheme = own_body(target, arguments or {}, in_shape, n_classes), init
        origin |= {"target": target, "arguments": dict(arguments or {})}
    else:
        architecture = _architecture(name, in_shape)
        switches = _switches(name, architecture, filters, pool)
        make, scheme = partial(architecture.body, in_shape, n_classes, **switches), init or architecture.init
        origin |= switches
    body = initialized(make, scheme, seed)
    return Network(Normalize(mean.to(torch.float32), std.to(torch.float32)), body, n_classes, origin)


def _architecture(name: str, in_shape: tuple[int, ...]) -> Architecture:
    if name not in ARCHITECTURES:
        raise ConfigError(f"model={name!r} is unknown; choose one of {', '.join(ARCHITECTURES)}, mlp")
    if len(in_shape) != 3:
        raise ConfigError(f"model={name} takes images, and these are vectors {in_shape}: choose model=mlp")
    return ARCHITECTURES[name]


def _switches(
    name: str, architecture: Architecture, filters: Sequence[int] | None, pool: str
) -> dict[str, Any]:
    if architecture.filters:
        return {"filters": tuple(filters or architecture.filters), "pool": pool}
    if filters or pool != "floor":
        raise ConfigError(f"model={name} has neither filters nor pool to choose: leave both out")
    return {}


def _check_shapes(in_shape: tuple[int, ...], n_classes: int, *, mean: Tensor, std: Tensor) -> None:
    if len(in_shape) not in (1, 3) or min(in_shape) < 1:
        raise ConfigError(
            f"in_shape={in_shape}: images have a shape (channels, height, width), vectors (length,)"
        )
    if n_classes < 2:
        raise ConfigError(f"n_classes={n_classes}: a classifier needs two classes or more")
    for name, value in (("mean", mean), ("std", std)):
        shape = tuple(value.shape)
        one_a_channel = (in_shape[0], *[1] * (len(in_shape) - 1))
        if shape not in (one_a_channel, tuple(in_shape)):
            raise ConfigError(f"{name} has shape {shape}; choose {one_a_channel} or {tuple(in_shape)}")
        if not value.isfinite().all():
            raise ConfigError(f"{name} of the images is not finite")
    if not (std > 0).all():
        raise ConfigError("std of the images must be positive; use 1 where all images have the same value")
