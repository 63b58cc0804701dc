"""The two ConvNets of Demyanov et al., section 5."""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import count, pairwise

from torch import nn

from jacexp.errors import ConfigError

POOLS: dict[str, Callable[[int], int]] = {
    "floor": lambda n: (n - 3) // 2 + 1,  # modern: whole windows only
    "ceil": lambda n: (n + 1) // 2,  # toolbox: a window at every second pixel, cut off at the border
}
"""The values of the switch ``pool``: output size of 3×3 max pooling with stride 2 on n pixels."""

N_HIDDEN = 256


def convnet(
    in_shape: tuple[int, int, int],
    n_classes: int,
    *,
    kernels: Sequence[int],
    paddings: Sequence[int],
    filters: Sequence[int],
    pool: str,
) -> nn.Sequential:
    """Build [conv, ReLU, 3×3 max pool with stride 2] × len(kernels), linear 256, ReLU, linear n_classes.

    Args:
        in_shape: (C, H, W).
        n_classes: the number of logits.
        kernels: kernel size of each convolution.
        paddings: zero padding of each convolution.
        filters: number of filters of each convolution.
        pool: ``floor`` or ``ceil``, see ``POOLS``.

    Returns:
        The body, with the initial weights of PyTorch's layers.

    Raises:
        ConfigError: for an unknown pool, a wrong number of filter counts, or images that are too small.
    """
    if pool not in POOLS:
        raise ConfigError(f"model.pool={pool!r} is unknown; choose one of {', '.join(POOLS)}")
    if len(filters) != len(kernels) or min(filters) < 1:
        raise ConfigError(
            f"model.filters={list(filters)}: this network takes {len(kernels)} positive numbers"
        )
    height, width = (_pooled(side, kernels, paddings, pool) for side in in_shape[1:])
    if min(height, width) < 1:
        least = next(side for side in count(1) if _pooled(side, kernels, paddings, pool) >= 1)
        raise ConfigError(
            f"this network with pool={pool} needs images of {least}×{least} or more, not {in_shape[1]}×{in_shape[2]}"
        )
    layers: list[nn.Module] = []
    for (n_in, n_out), kernel, padding in zip(
        pairwise((in_shape[0], *filters)), kernels, paddings, strict=True
    ):
        layers += [nn.Conv2d(n_in, n_out, kernel, padding=padding), nn.ReLU(), *_pool_layers(pool)]
    return nn.Sequential(
        *layers,
        nn.Flatten(),
        nn.Linear(filters[-1] * height * width, N_HIDDEN),
        nn.ReLU(),
        nn.Linear(N_HIDDEN, n_classes),
    )


def _pooled(side: int, kernels: Sequence[int], paddings: Sequence[int], pool: str) -> int:
    """Follow a side through all convolutions and pools."""
    for kernel, padding in zip(kernels, paddings, strict=True):
        side = POOLS[pool](side + 2 * padding - kernel + 1)
    return side


def _pool_layers(pool: str) -> list[nn.Module]:
    """Pool 3×3 with stride 2, the first window at pixel 0."""
    if pool == "floor":
        return [nn.MaxPool2d(3, stride=2)]
    # MaxPool2d's ceil_mode gives 12 for 25 pixels and not 13, and its own padding would begin at pixel -1.
    # Two rows and columns of -inf at the end make whole windows of the toolbox's cut ones, for every n.
    return [nn.ConstantPad2d((0, 2, 0, 2), float("-inf")), nn.MaxPool2d(3, stride=2)]


convnet_mnist = partial(convnet, kernels=(4, 5), paddings=(0, 2))
"""The MNIST network: 32 filters of 4×4, 64 of 5×5."""

convnet_cifar = partial(convnet, kernels=(5, 5, 5), paddings=(0, 2, 2))
"""The CIFAR network: three convolutions of 5×5, whose filter counts the paper does not state."""
