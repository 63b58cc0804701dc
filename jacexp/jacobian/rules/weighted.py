"""Rules of the layers with weights: linear and convolution (Johansson et al., Tables 2 and 3)."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jacexp.errors import NoRuleError
from jacexp.jacobian.rules.base import Rule, joined, register_rule
from jacexp.jacobian.rules.kernels import conv_transpose, conv_weight


class Weighted(Rule):
    """A layer y = W x + b, bilinear in W and x: one call for all products that give gradients of W."""

    def __init__(self, layer: Any) -> None:
        """Read the weight and the bias."""
        self.parameters = (layer.weight, layer.bias)
        self.W, self.b = layer.weight, layer.bias

    def cast(self, x: Tensor) -> None:
        """Convert W and b to the precision of the pass."""
        if x.dtype != self.W.dtype and not torch.is_autocast_enabled(x.device.type):
            self.W = self.W.to(x.dtype)
            self.b = None if self.b is None else self.b.to(x.dtype)

    def weight(self, v: Tensor, u: Tensor) -> Tensor:
        """Compute ∂⟨u, F v⟩/∂W, summed over rows."""
        raise NotImplementedError

    def gradients(
        self, x: Tensor, v: list[Tensor], u: list[Tensor], scale: float = 1, shared: bool = False
    ) -> tuple[Tensor | None, ...]:
        """[x; v]ᵀ[dy; u] or, where dy = u, (x + v)ᵀ dy; the bias sees dy alone (Demyanov et al., 3.3)."""
        a = x + v[0] if shared else joined([x, *v])
        adjoints = joined(u)
        # Whichever is smaller is scaled: a large matrix's gradient is written once and not touched again.
        few = a.numel() < self.W.numel()
        dW = self.weight(a * scale if few else a, adjoints)
        dW = dW if few else dW * scale
        if self.b is None:
            return dW, None
        dy = adjoints if shared or not v else adjoints[: x.shape[0]]
        return dW, scale * self.bias_gradient(dy)

    def bias_gradient(self, dy: Tensor) -> Tensor:
        """Compute ∂⟨dy, b⟩/∂b, summed over rows and pixels."""
        return dy.sum([d for d in range(dy.ndim) if d != self.channel_dim(dy)])

    def channel_dim(self, y: Tensor) -> int:
        """Return which dimension of the output b belongs to."""
        raise NotImplementedError


@register_rule(nn.Linear)
class Linear(Weighted):
    """Table 2."""

    def forward(self, x: Tensor) -> Tensor:
        """y = Linear(x, W, b)."""
        self.cast(x)
        return F.linear(x, self.W, self.b)

    def tangent(self, v: Tensor) -> Tensor:
        """y = Linear(v, W, 0)."""
        return F.linear(v, self.W)

    def transpose(self, u: Tensor) -> Tensor:
        """y = Linear(u, Wᵀ, 0)."""
        return u @ self.W

    def weight(self, v: Tensor, u: Tensor) -> Tensor:
        """uᵀv."""
        return u.flatten(0, -2).t() @ v.flatten(0, -2)

    def channel_dim(self, y: Tensor) -> int:
        """The last."""
        return y.ndim - 1


@register_rule(nn.Conv2d)
class Conv2d(Weighted):
    """Table 3."""

    def __init__(self, layer: nn.Conv2d) -> None:
        """Read the geometry.

        Raises:
            NoRuleError: for padding that is not zeros, or differs between the two sides.
        """
        super().__init__(layer)
        before_after = layer._reversed_padding_repeated_twice
        sides = [before_after[2 * d : 2 * d + 2] for d in (1, 0)]  # F.pad counts from the last dimension
        if layer.padding_mode != "zeros" or any(a != b for a, b in sides):
            raise NoRuleError(
                f"{layer}: the passes engine has a rule for zero padding, the same on both sides"
            )
        self.geometry = (layer.stride, tuple(a for a, _ in sides), layer.dilation, layer.groups)

    def forward(self, x: Tensor) -> Tensor:
        """y = Conv(x, W, b)."""
        self.cast(x)
        self.in_size = x.shape[-2:]
        return F.conv2d(x, self.W, self.b, *self.geometry)

    def tangent(self, v: Tensor) -> Tensor:
        """y = Conv(v, W, 0)."""
        return F.conv2d(v, self.W, None, *self.geometry)

    def transpose(self, u: Tensor) -> Tensor:
        """y = ConvTranspose(u, W, 0)."""
        return conv_transpose(u, self.W, self.in_size, *self.geometry)

    def weight(self, v: Tensor, u: Tensor) -> Tensor:
        """Correlate v with u."""
        return conv_weight(v, u, self.W, *self.geometry)

    def channel_dim(self, y: Tensor) -> int:
        """The one before the image's."""
        return y.ndim - 3
