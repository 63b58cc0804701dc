import math

import pytest
import torch
from torch import Tensor, nn

from jacexp.errors import ConfigError
from jacexp.models.convnet import POOLS, convnet_cifar, convnet_mnist


def shapes_after(body: nn.Sequential, in_shape: tuple[int, int, int]) -> list[tuple[int, ...]]:
    """The shape after each convolution, pool and linear layer."""
    x, shapes = torch.rand(2, *in_shape), []
    for layer in body:
        x = layer(x)
        if isinstance(layer, nn.Conv2d | nn.MaxPool2d | nn.Linear):
            shapes.append(tuple(x.shape[1:]))
    return shapes


@pytest.mark.parametrize(("pool", "first", "second"), [("floor", 12, 5), ("ceil", 13, 7)])
def test_the_mnist_network_has_the_papers_layers(pool, first, second):
    body = convnet_mnist((1, 28, 28), 10, filters=(32, 64), pool=pool)
    assert shapes_after(body, (1, 28, 28)) == [
        (32, 25, 25),
        (32, first, first),
        (64, first, first),
        (64, second, second),
        (256,),
        (10,),
    ]
    n_conv = 32 * (16 + 1) + 64 * (32 * 25 + 1)
    n_linear = 256 * (64 * second**2 + 1) + 10 * (256 + 1)
    assert sum(p.numel() for p in body.parameters()) == n_conv + n_linear


@pytest.mark.parametrize(("pool", "sizes"), [("floor", (13, 6, 2)), ("ceil", (14, 7, 4))])
def test_the_cifar_network_has_the_papers_layers(pool, sizes):
    body = convnet_cifar((3, 32, 32), 10, filters=(64, 48, 32), pool=pool)
    assert shapes_after(body, (3, 32, 32)) == [
        (64, 28, 28),
        (64, sizes[0], sizes[0]),
        (48, sizes[0], sizes[0]),
        (48, sizes[1], sizes[1]),
        (32, sizes[1], sizes[1]),
        (32, sizes[2], sizes[2]),
        (256,),
        (10,),
    ]


def test_each_convolution_is_followed_by_relu_and_then_the_pool():
    body = convnet_mnist((1, 28, 28), 10, filters=(32, 64), pool="floor")
    kinds = [type(layer).__name__ for layer in body]
    assert kinds == ["Conv2d", "ReLU", "MaxPool2d"] * 2 + ["Flatten", "Linear", "ReLU", "Linear"]


def pooled_by_hand(x: Tensor, pool: str) -> Tensor:
    """The maximum over windows that start at every second pixel and end after three, or at the border."""
    n = x.shape[-1]
    n_windows = {"floor": (n - 3) // 2 + 1, "ceil": math.ceil(n / 2)}[pool]
    starts = range(0, 2 * n_windows, 2)
    rows = [torch.stack([x[..., i : i + 3, j : j + 3].amax((-2, -1)) for j in starts], -1) for i in starts]
    return torch.stack(rows, -2)


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("side", [10, 12, 13, 25, 28])
def test_pools_take_the_toolboxs_windows(pool, side):
    body = convnet_mnist((1, side + 3, side + 3), 10, filters=(1, 1), pool=pool)
    pooling = nn.Sequential(
        *[layer for layer in list(body)[1:4] if isinstance(layer, nn.ConstantPad2d | nn.MaxPool2d)]
    )
    x = torch.randn(2, 1, side, side, generator=torch.Generator().manual_seed(side))
    assert torch.equal(pooling(x), pooled_by_hand(x, pool))


@pytest.mark.parametrize("network", [convnet_mnist, convnet_cifar])
@pytest.mark.parametrize("pool", POOLS)
def test_images_are_refused_exactly_when_they_are_too_small(network, pool):
    filters = (2, 2, 2)[: 2 if network is convnet_mnist else 3]
    accepted = []
    for side in range(1, 33):
        try:
            body = network((1, side, side), 10, filters=filters, pool=pool)
        except ConfigError as error:
            least = int(str(error).split("×")[1].split(" ")[0])
            assert least > side
        else:
            accepted.append(side)
            assert body(torch.rand(1, 1, side, side)).shape == (1, 10)
    assert accepted == list(range(least, 33))


@pytest.mark.parametrize("filters", [(32,), (32, 64, 64), (32, 0)])
def test_wrong_filter_counts_are_an_error(filters):
    with pytest.raises(ConfigError, match=r"takes 2 positive numbers"):
        convnet_mnist((1, 28, 28), 10, filters=filters, pool="floor")


def test_an_unknown_pool_is_an_error_that_lists_the_known_ones():
    with pytest.raises(ConfigError, match=r"pool='round'.*floor, ceil"):
        convnet_mnist((1, 28, 28), 10, filters=(32, 64), pool="round")
