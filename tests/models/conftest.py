from collections.abc import Callable

import pytest
import torch

from jacexp.models import Network, build

SHAPES = {
    "lenet": (1, 28, 28),
    "convnet_mnist": (1, 28, 28),
    "convnet_cifar": (3, 32, 32),
    "vgg16_bn": (3, 32, 32),
}


@pytest.fixture
def make() -> Callable[..., Network]:
    """Build a network by name for its paper's images, with any argument replaced."""

    def make(name: str, **changes) -> Network:
        in_shape = changes.pop("in_shape", SHAPES.get(name, (1, 28, 28)))
        n_channels = in_shape[0] if len(in_shape) else 1
        arguments = {
            "n_classes": 10,
            "mean": torch.full((n_channels, 1, 1), 0.3),
            "std": torch.full((n_channels, 1, 1), 0.5),
            "seed": 0,
        }
        return build(name, in_shape=in_shape, **(arguments | changes))

    return make
