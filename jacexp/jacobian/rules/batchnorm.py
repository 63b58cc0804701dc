"""The rule of batch normalisation, with its statistics frozen (Johansson et al., section 3.1)."""

from typing import Any

import torch
from torch import Tensor, nn

from jacexp.jacobian.rules.base import Rule, joined, register_rule
from jacexp.jacobian.statistics import uses_batch_statistics

aten = torch.ops.aten


@register_rule(nn.BatchNorm1d, nn.BatchNorm2d)
class BatchNorm(Rule):
    """y = γ (x − μ)/s + β, s = √(var + eps). F = Fᵀ = γ/s: linear, since μ and s are constants to the Jacobian.

    In train mode they are this batch's mean and biased variance, in eval mode the running ones. The loss is
    differentiated as usual, which in train mode means through μ and s, so its backward pass is not Fᵀ.
    """

    def __init__(self, layer: Any) -> None:
        """Read γ, β and the statistics."""
        self.layer = layer
        self.gamma, self.beta = self.parameters = (layer.weight, layer.bias)
        self.train = self.coupled = uses_batch_statistics(layer)
        self.moves = layer.training and layer.track_running_stats
        self.loss_gradients: tuple[Tensor, Tensor] | None = None

    def forward(self, x: Tensor) -> Tensor:
        """y = γ (x − μ)/s + β; the running statistics move once, as in the module."""
        layer = self.layer
        self.x = x
        self.running = (layer.running_mean, layer.running_var)
        self.moves = self.moves and self.move_statistics
        if layer.training and not self.moves:
            self.running = (None, None)
        y, mean, inv_std = torch.native_batch_norm(
            x, self.gamma, self.beta, *self.running, self.train, self._momentum(), layer.eps
        )
        if not self.train:
            mean, inv_std = layer.running_mean, (layer.running_var + layer.eps).rsqrt()
        self.mean, self.inv_std = mean.detach(), inv_std.detach()
        return y

    def _momentum(self) -> float:
        layer = self.layer
        if not self.moves or layer.num_batches_tracked is None:
            return layer.momentum or 0.0
        layer.num_batches_tracked.add_(1)
        return 1 / float(layer.num_batches_tracked.max()) if layer.momentum is None else layer.momentum

    def tangent(self, v: Tensor) -> Tensor:
        """v γ/s."""
        scale = self.inv_std if self.gamma is None else self.inv_std * self.gamma
        return v * scale.view(-1, *[1] * (v.ndim - 2)).to(v.dtype)

    transpose = tangent

    def backward(self, u: Tensor, n: int, shared: bool) -> Tensor:
        """The loss through μ and s for its n rows, γ/s for the others."""
        if n == 0 or not self.train:
            return self.transpose(u)
        dy, others = u[:n], u if shared else u[n:]
        dx = self._backward(dy)
        return torch.cat([dx, self.transpose(others)]) if len(others) else dx

    def _backward(self, dy: Tensor) -> Tensor:
        layer = self.layer
        dx, dgamma, dbeta = aten.native_batch_norm_backward(
            dy,
            self.x,
            self.gamma,
            *self.running,
            self.mean,
            self.inv_std,
            self.train,
            layer.eps,
            [True, self.gamma is not None, self.gamma is not None],
        )
        self.loss_gradients = (dgamma, dbeta)
        return dx

    def gradients(
        self, x: Tensor, v: list[Tensor], u: list[Tensor], scale: float = 1, shared: bool = False
    ) -> tuple[Tensor | None, ...]:
        """∂/∂γ = Σ dy (x − μ)/s + Σ u v/s, ∂/∂β = Σ dy: the penalty moves γ and not β."""
        if self.gamma is None:
            return None, None
        adjoints = joined(u)
        if self.loss_gradients is None:
            self._backward(adjoints[: len(x)])
        dgamma, dbeta = self.loss_gradients  # type: ignore[misc]  # set by _backward
        if v:
            product = joined(v) * (adjoints if shared else adjoints[len(x) :])
            dgamma = dgamma + self.inv_std * product.sum([d for d in range(x.ndim) if d != 1])
        return scale * dgamma, scale * dbeta
