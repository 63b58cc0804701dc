"""Stacked networks: several networks of one architecture as one, a longer batch whose weights differ by its rows.

N networks with a batch of B each are N · B rows, network by network. Layers without weights see rows and need not know
more; a layer with weights parts them. k vectors a sample are stacked as ever, (k · N · B, ...). So every objective runs
on a stack as it is, with its strengths as tensors (N · B,), and no sum ever mixes two networks.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import torch
from torch import Tensor

from jacexp.errors import NoRuleError
from jacexp.jacobian.rules.base import STACKED, Rule
from jacexp.jacobian.rules.batchnorm import BatchNorm
from jacexp.jacobian.rules.convolutions import Parts, convolve
from jacexp.jacobian.rules.pointwise import Dropout
from jacexp.jacobian.rules.weighted import Conv2d, Linear, Weighted


class StackedWeights(Weighted):
    """What stacked linear and convolutional layers share: W is (N, ...), b is (N, out)."""

    def bias_gradient(self, dy: Tensor) -> Tensor:
        """Sum over each network's samples and pixels, (N, out)."""
        dy = self.parts.split(dy)
        return dy.sum([d for d in range(1, dy.ndim) if d != self.channel_dim(dy)])

    def begin(self, x: Tensor) -> None:
        """Infer the batch size from the first rows."""
        self.parts = Parts(len(self.W), len(x))
        self.cast(x)


class StackedLinear(StackedWeights, Linear):
    """`Linear`, one batched product for all networks."""

    def forward(self, x: Tensor) -> Tensor:
        """y = x W_nᵀ + b_n."""
        self.begin(x)
        y = self.tangent(x)
        if self.b is None:
            return y
        return self.parts.join(self.parts.split(y) + self.b.view(len(self.b), *[1] * (y.ndim - 1), -1))

    def tangent(self, v: Tensor) -> Tensor:
        """v W_nᵀ."""
        return self._product(v, self.W.mT)

    def transpose(self, u: Tensor) -> Tensor:
        """u W_n."""
        return self._product(u, self.W)

    def _product(self, v: Tensor, matrices: Tensor) -> Tensor:
        v = self.parts.split(v)
        return self.parts.join(torch.bmm(v.flatten(1, -2), matrices).view(*v.shape[:-1], -1))

    def weight(self, v: Tensor, u: Tensor) -> Tensor:
        """u_nᵀ v_n."""
        return torch.bmm(self.parts.split(u).flatten(1, -2).mT, self.parts.split(v).flatten(1, -2))


class StackedConv2d(StackedWeights, Conv2d):
    """`Conv2d`, in whichever way is the fastest for several networks."""

    def forward(self, x: Tensor) -> Tensor:
        """y = Conv(x, W_n, b_n)."""
        self.begin(x)
        self.in_size = x.shape[-2:]
        return convolve("forward", x, self.W, self.b, self.parts, self.geometry)

    def tangent(self, v: Tensor) -> Tensor:
        """y = Conv(v, W_n, 0)."""
        return convolve("forward", v, self.W, None, self.parts, self.geometry)

    def transpose(self, u: Tensor) -> Tensor:
        """y = ConvTranspose(u, W_n, 0)."""
        return convolve("transpose", u, self.W, self.in_size, self.parts, self.geometry)

    def weight(self, v: Tensor, u: Tensor) -> Tensor:
        """Correlate v_n with u_n."""
        return convolve("weight", v, u, self.W, self.parts, self.geometry)


class StackedBatchNorm(Rule):
    """`BatchNorm` with the statistics of each network's own batch: one layer with N times as many channels."""

    def __init__(self, layer: Any) -> None:
        """Read γ, β and the statistics, (N, C); the running ones are moved where they are.

        Raises:
            NoRuleError: for a layer without any of them.
        """
        self.parameters = (layer.weight, layer.bias)
        known = layer.weight if layer.running_mean is None else layer.running_mean
        if known is None:
            raise NoRuleError(f"{layer} has neither parameters nor statistics to tell networks apart by")
        self.n = len(known)
        self.rule = BatchNorm(_InARow(layer))
        self.coupled = self.rule.coupled

    def forward(self, x: Tensor) -> Tensor:
        """y = γ_n (x − μ_n)/s_n + β_n."""
        self.parts = Parts(self.n, len(x))
        self.rule.move_statistics = self.move_statistics
        return self._through(self.rule.forward, x)

    def tangent(self, v: Tensor) -> Tensor:
        """v γ_n/s_n."""
        return self._through(self.rule.tangent, v)

    transpose = tangent

    def backward(self, u: Tensor, n: int, shared: bool) -> Tensor:
        """The loss through μ_n and s_n for its n rows, γ_n/s_n for the others."""
        return self._through(lambda u: self.rule.backward(u, n // self.n, shared), u)

    def gradients(
        self, x: Tensor, v: list[Tensor], u: list[Tensor], scale: float = 1, shared: bool = False
    ) -> tuple[Tensor | None, ...]:
        """∂/∂γ_n and ∂/∂β_n, (N, C)."""
        x, *rest = (self.parts.as_channels(t) for t in (x, *v, *u))
        gradients = self.rule.gradients(x, rest[: len(v)], rest[len(v) :], scale, shared)
        return tuple(None if g is None else g.view(self.n, -1) for g in gradients)

    def _through(self, function: Callable[[Tensor], Tensor], v: Tensor) -> Tensor:
        return self.parts.from_channels(function(self.parts.as_channels(v)))


class _InARow:
    """What `BatchNorm` reads of a layer, with the channels of all networks in a row."""

    def __init__(self, layer: Any) -> None:
        self.training, self.track_running_stats = layer.training, layer.track_running_stats
        self.eps, self.momentum, self.num_batches_tracked = (
            layer.eps,
            layer.momentum,
            layer.num_batches_tracked,
        )
        tensors = (layer.weight, layer.bias, layer.running_mean, layer.running_var)
        self.weight, self.bias, self.running_mean, self.running_var = (
            None if t is None else t.flatten() for t in tensors
        )


class StackedDropout(Dropout):
    """`Dropout` with each network's mask from its own stream, the one that it would have had alone."""

    def __init__(self, layer: Any) -> None:
        """Read the rate and the streams."""
        super().__init__(layer)
        self.streams = layer.streams

    def new_mask(self, x: Tensor) -> Tensor:
        """Draw a mask a network."""
        draws = [partial(super(StackedDropout, self).new_mask, x_n) for x_n in x.chunk(len(self.streams))]
        return torch.cat([self.streams.draw(n, draw) for n, draw in enumerate(draws)])


STACKED.update(
    {Linear: StackedLinear, Conv2d: StackedConv2d, BatchNorm: StackedBatchNorm, Dropout: StackedDropout}
)


class RandomStreams:
    """PyTorch's global random state, one for each network of a stack: dropout draws from no other."""

    def __init__(self, n: int, device: torch.device) -> None:
        """Start with no state; `seed` sets them."""
        self.device, self.states = device, [torch.empty(0, dtype=torch.uint8)] * n

    def __len__(self) -> int:
        """Number of networks."""
        return len(self.states)

    def seed(self, seeds: Sequence[int]) -> None:
        """Set each network's state as ``torch.manual_seed`` would."""
        with self._forked():
            for n, seed in enumerate(seeds):
                torch.manual_seed(seed)
                self.states[n] = self._state()

    def draw(self, n: int, make: Callable[[], Tensor]) -> Tensor:
        """Draw from the state of network n, and move it on."""
        with self._forked():
            if self.device.type == "cuda":
                torch.cuda.set_rng_state(self.states[n], self.device)
            else:
                torch.set_rng_state(self.states[n])
            drawn = make()
            self.states[n] = self._state()
        return drawn

    def _forked(self) -> AbstractContextManager[None]:
        return torch.random.fork_rng([self.device] if self.device.type == "cuda" else [])

    def _state(self) -> Tensor:
        return torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else torch.get_rng_state()
