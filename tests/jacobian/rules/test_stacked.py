"""Convolutions of stacked networks: every way gives what one network after another gives."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from jacexp.errors import NoRuleError
from jacexp.jacobian.graph import program_of
from jacexp.jacobian.rules import convolutions
from jacexp.jacobian.rules.base import RULES, Rule
from jacexp.jacobian.rules.convolutions import Grouped, OneByOne, Parts, Products, convolve
from jacexp.jacobian.rules.stacked import RandomStreams
from jacexp.random import make_generator

N, B, C, OUT = 3, 2, 4, 6
SIZE = (9, 8)
GEOMETRIES = {
    "plain": ((1, 1), (0, 0), (1, 1), 1),
    "padded": ((1, 1), (2, 1), (1, 1), 1),
    "strided": ((2, 3), (1, 0), (1, 1), 1),
    "dilated": ((1, 2), (1, 2), (2, 1), 1),
    "grouped": ((1, 1), (1, 1), (1, 1), 2),
}


def normals(*shape):
    return torch.randn(*shape, dtype=torch.float64, generator=make_generator(0, "test", *shape))


CASES = [(way, name) for way in (OneByOne, Grouped, Products) for name in GEOMETRIES]
CASES.remove((Products, "grouped"))


@pytest.mark.parametrize("k", [1, 2])
@pytest.mark.parametrize(("way", "name"), CASES)
def test_ways(way, name, k):
    geometry = GEOMETRIES[name]
    parts = Parts(N, N * B)
    W, b = normals(N, OUT, C // geometry[3], 3, 2), normals(N, OUT)
    x = normals(k * N * B, C, *SIZE)
    per_network = x.view(k, N, B, C, *SIZE).transpose(0, 1).reshape(N, k * B, C, *SIZE)
    y = torch.stack([F.conv2d(v, W[n], b[n], *geometry) for n, v in enumerate(per_network)])
    u = normals(k * N * B, *y.shape[2:])
    torch.testing.assert_close(parts.split(way.forward(x, W, b, parts, geometry)), y)
    torch.testing.assert_close(
        parts.split(way.forward(x, W, None, parts, geometry)), y - b[:, None, :, None, None]
    )
    leaves = x.clone().requires_grad_(), W.clone().requires_grad_()
    product = (OneByOne.forward(*leaves, None, parts, geometry) * u).sum()
    dx, dW = torch.autograd.grad(product, leaves)
    torch.testing.assert_close(way.transpose(u, W, SIZE, parts, geometry), dx)
    torch.testing.assert_close(way.weight(x, u, W, parts, geometry), dW)


def test_the_fastest_way_is_found_once_for_each_shape(monkeypatch):
    timed = []

    def seconds(compute, arguments, device):
        timed.append(compute)
        return {"Grouped": 2.0, "Products": 1.0}[compute.__qualname__.split(".")[0]]

    monkeypatch.setattr(convolutions, "_seconds", seconds)
    monkeypatch.setattr(convolutions, "_known", {})
    arguments = (
        normals(N * B, C, *SIZE),
        normals(N, OUT, C, 3, 3),
        None,
        Parts(N, N * B),
        GEOMETRIES["plain"],
    )
    assert convolutions._fastest("forward", arguments) is Products
    assert convolutions._fastest("forward", arguments) is Products
    assert timed == [Grouped.forward, Products.forward]


def test_a_cpu_never_asks_the_clock(monkeypatch):
    monkeypatch.setattr(convolutions, "_fastest", None)
    x, W, parts = normals(N * B, C, *SIZE), normals(N, OUT, C, 3, 3), Parts(N, N * B)
    y = convolve("forward", x, W, None, parts, GEOMETRIES["plain"])
    assert torch.equal(y, OneByOne.forward(x, W, None, parts, GEOMETRIES["plain"]))


def test_channels_last_stays():
    x = normals(2 * N * B, C, *SIZE).to(memory_format=torch.channels_last)
    parts = Parts(N, N * B)
    assert all(p.is_contiguous(memory_format=torch.channels_last) for p in parts.pieces(x))
    assert torch.equal(parts.joined(parts.pieces(x)), x)
    assert torch.equal(parts.from_channels(parts.as_channels(x)), x)


def test_streams_draw_what_each_network_would_draw_alone():
    before = torch.get_rng_state()
    streams = RandomStreams(2, torch.device("cpu"))
    streams.seed([5, 6])
    drawn = [[streams.draw(n, lambda: torch.rand(3)) for n in (0, 1)] for _ in range(2)]
    assert torch.equal(torch.get_rng_state(), before)
    for n, seed in enumerate([5, 6]):
        expected = torch.rand(6, generator=torch.Generator().manual_seed(seed))
        assert torch.equal(torch.cat([drawn[0][n], drawn[1][n]]), expected)


class Scale(nn.Module):
    def __init__(self):
        super().__init__()
        self.factor = nn.Parameter(torch.ones(1))

    def forward(self, x):
        return self.factor * x


def test_a_rule_of_ones_own_with_parameters_is_refused(monkeypatch):
    class ScaleRule(Rule):
        pass

    monkeypatch.setitem(RULES, Scale, ScaleRule)
    with pytest.raises(NoRuleError, match="no stacked rule for ScaleRule"):
        program_of(nn.Sequential(nn.Flatten(), Scale())).rules(stacked=True)
