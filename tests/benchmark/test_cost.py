"""The floors that issue and protocol state, counted by hand for LeNet, and that the passes do not take more."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from jacexp.benchmark.cost import METHODS, floor, layers_of, passes
from jacexp.data import Batch
from jacexp.errors import ConfigError
from jacexp.jacobian import PLAIN, value_and_grads
from jacexp.models import Network, Normalize
from tests.laws import drawn, make

CHANNELS = 32  # wide enough for no pass to be done by another convolution than the obvious one
NET = nn.Sequential(
    *(nn.Conv2d(CHANNELS, 6, 3), nn.ReLU(), nn.MaxPool2d(2)),
    *(nn.Conv2d(6, 17, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(153, 5), nn.ReLU(), nn.Linear(5, 4)),
)
NORMALIZED = nn.Sequential(
    *(nn.Conv2d(CHANNELS, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2)),
    *(nn.Conv2d(6, 17, 3, padding=1), nn.BatchNorm2d(17), nn.ReLU()),
    *(nn.Flatten(), nn.Linear(153, 5), nn.ReLU(), nn.Linear(5, 4)),
)
X, Y = torch.randn(3, CHANNELS, 8, 8), torch.tensor([0, 1, 2])
T = torch.randn(3, 5, CHANNELS, 8, 8)
BATCH = Batch(X, Y, T)


def test_multiply_adds_of_lenet():
    net = nn.Sequential(
        *(nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()),
        *(nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10)),
    )
    layers = layers_of(net, torch.zeros(1, 1, 28, 28))
    assert [layer.multiply_adds for layer in layers] == [117600, 240000, 48000, 10080, 840]
    assert [layer.first for layer in layers] == [True, False, False, False, False]
    assert floor("spec", layers) == pytest.approx(2.47, abs=0.005)
    assert floor("loss_ibp", layers) == pytest.approx(1.47, abs=0.005)
    assert floor("tbp", layers) == 6


@pytest.mark.parametrize("net", [NET, NORMALIZED], ids=["plain", "batch-norm"])
@pytest.mark.parametrize("method", METHODS)
def test_steps_take_no_more_than_the_floor(method, net):
    expected = sum(layer.multiply_adds * sum(passes(method, layer)) for layer in layers_of(net, X)) * len(X)
    if method == "fast_tbp":
        expected += 2 * T.numel()  # g · t, and their sum
    as_it_is = Normalize(torch.zeros(CHANNELS, 1, 1), torch.ones(CHANNELS, 1, 1))
    module = make(method, Network(as_it_is, net, 4))
    noise = drawn(module, X)
    objective = module.method.objective(BATCH, lambda _: noise, 1.0, as_it_is) or PLAIN
    with FlopCounterMode(display=False) as counter:
        value_and_grads(net, X, Y, objective)
    assert counter.get_total_flops() == 2 * expected


def test_unknown_method():
    with pytest.raises(ConfigError, match="spec_bound"):
        floor("spec_bound", layers_of(NET, X))
