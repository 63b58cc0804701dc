"""Rules of activations, dropout, and layers that only move numbers about: shapes, sums, concatenation, padding."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jacexp.errors import NoRuleError
from jacexp.jacobian.rules.base import Rule, as_rows, per_sample, register_rule

aten = torch.ops.aten


@register_rule(nn.ReLU)
class ReLU(Rule):
    """y = max(x, 0); F = Fᵀ = Z, the diagonal of zeros and ones (Johansson et al., Eq. 4)."""

    rectifies = True

    def forward(self, x: Tensor) -> Tensor:
        """y = max(x, 0), whose positive entries are z."""
        y = F.relu(x)
        self.y = y.detach()
        return y

    def tangent(self, v: Tensor) -> Tensor:
        """V ⊙ z."""
        # In place of a product with a boolean mask, which converts it to float at each pass.
        return as_rows(aten.threshold_backward(per_sample(v, len(self.y)), self.y, 0), self.y.ndim)

    transpose = tangent


@register_rule(nn.LeakyReLU)
class LeakyReLU(Rule):
    """y = max(x, 0) + slope · min(x, 0)."""

    def __init__(self, layer: nn.LeakyReLU) -> None:
        """Read the slope."""
        self.slope = layer.negative_slope

    def forward(self, x: Tensor) -> Tensor:
        """y = x or slope · x."""
        self.x = x.detach()
        return F.leaky_relu(x, self.slope)

    def tangent(self, v: Tensor) -> Tensor:
        """V or slope · v, by the sign of x."""
        v = aten.leaky_relu_backward(per_sample(v, len(self.x)), self.x, self.slope, False)
        return as_rows(v, self.x.ndim)

    transpose = tangent


@register_rule(nn.Dropout, nn.Dropout1d, nn.Dropout2d)
class Dropout(Rule):
    """y = x ⊙ z/(1 − p) in train mode, with one mask z for all passes (Johansson et al., appendix B)."""

    def __init__(self, layer: nn.Dropout) -> None:
        """Read whether and how much is dropped, and whether single entries or whole channels."""
        self.p = layer.p if layer.training else 0.0
        self.draw = {nn.Dropout1d: F.dropout1d, nn.Dropout2d: F.dropout2d}.get(type(layer), F.dropout)

    def forward(self, x: Tensor) -> Tensor:
        """y = x ⊙ mask."""
        self.mask = self.new_mask(x) if self.p else None
        return self.tangent(x)

    def new_mask(self, x: Tensor) -> Tensor:
        """Draw z/(1 − p) in the shape of x, in an order that does not depend on how x lies in memory."""
        mask = self.draw(torch.ones(x.shape, dtype=x.dtype, device=x.device), self.p, training=True)
        return torch.empty_like(x).copy_(mask)

    def tangent(self, v: Tensor) -> Tensor:
        """V ⊙ mask."""
        if self.mask is None:
            return v
        return as_rows(per_sample(v, len(self.mask)) * self.mask, self.mask.ndim)

    transpose = tangent


@register_rule(nn.Identity)
class Identity(Rule):
    """y = x."""

    def forward(self, x: Tensor) -> Tensor:
        """y = x."""
        return x

    tangent = transpose = forward


@register_rule(nn.Flatten)
class Flatten(Rule):
    """y = x in another shape."""

    def __init__(self, layer: nn.Flatten) -> None:
        """Read which dimensions are joined.

        Raises:
            NoRuleError: if the samples would be joined.
        """
        self.dims = (layer.start_dim, layer.end_dim)
        if layer.start_dim == 0:
            raise NoRuleError("Flatten(start_dim=0) joins the samples of a batch; start at 1")

    def forward(self, x: Tensor) -> Tensor:
        """Join dimensions."""
        self.shape = x.shape[1:]
        return x.flatten(*self.dims)

    def tangent(self, v: Tensor) -> Tensor:
        """Join dimensions."""
        return v.flatten(*self.dims)

    def transpose(self, u: Tensor) -> Tensor:
        """Split them again."""
        return u.reshape(len(u), *self.shape)


class Add(nn.Module):
    """The sum of a residual connection, as a layer."""

    n_tensors = 2

    def forward(self, *x: Tensor) -> Tensor:
        """y = x_1 + x_2."""
        return x[0] + x[1]


@register_rule(Add)
class AddRule(Rule):
    """y = x_1 + x_2, F = (I, I): the I of Johansson et al., Eq. 11."""

    def forward(self, *x: Tensor) -> Tensor:
        """y = x_1 + x_2.

        Returns:
            y.

        Raises:
            NoRuleError: if the two differ in shape.
        """
        if x[0].shape != x[1].shape:
            raise NoRuleError(
                f"a sum of shapes {tuple(x[0].shape)} and {tuple(x[1].shape)}: broadcasting has no rule"
            )
        return x[0] + x[1]

    tangent = forward

    def transpose(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Return u for both."""
        return u, u


class Concatenate(nn.Module):
    """The concatenation of several inputs, as a layer."""

    def __init__(self, dim: int = 0) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, *x: Tensor) -> Tensor:
        """y = [x_1, x_2, ...]."""
        return torch.cat(x, self.dim)


@register_rule(Concatenate)
class ConcatenateRule(Rule):
    """y = [x_1, x_2, ...] along a dimension other than the batch."""

    def __init__(self, layer: Concatenate) -> None:
        """Read the dimension."""
        self.dim = layer.dim

    def forward(self, *x: Tensor) -> Tensor:
        """y = [x_1, x_2, ...].

        Returns:
            y.

        Raises:
            NoRuleError: if the samples would be joined.
        """
        if self.dim % x[0].ndim == 0:
            raise NoRuleError("a concatenation along the batch has no rule")
        self.sizes = [x_i.shape[self.dim] for x_i in x]
        return torch.cat(x, self.dim)

    def tangent(self, *v: Tensor) -> Tensor:
        """y = [v_1, v_2, ...]."""
        return torch.cat(v, self.dim)

    def transpose(self, u: Tensor) -> tuple[Tensor, ...]:
        """Split u again."""
        return u.split(self.sizes, self.dim)


@register_rule(nn.ConstantPad1d, nn.ConstantPad2d, nn.ZeroPad1d, nn.ZeroPad2d)
class ConstantPad(Rule):
    """y = x in a frame of a constant; F pads with zeros, Fᵀ crops."""

    def __init__(self, layer: Any) -> None:
        """Read the frame."""
        self.padding, self.value = list(layer.padding), layer.value

    def forward(self, x: Tensor) -> Tensor:
        """Pad with the constant."""
        return F.pad(x, self.padding, value=self.value)

    def tangent(self, v: Tensor) -> Tensor:
        """Pad with zeros."""
        return F.pad(v, self.padding)

    def transpose(self, u: Tensor) -> Tensor:
        """Crop."""
        return F.pad(u, [-n for n in self.padding])
