"""Rules of pooling layers (Johansson et al., Table 4); windows may overlap, so the transpose adds up."""

from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jacexp.errors import NoRuleError
from jacexp.jacobian.rules.base import Rule, register_rule

aten = torch.ops.aten


class Select(Rule):
    """y = x[I], with the indices I of each window's maximum; Fᵀ adds each u to where its maximum was.

    Where windows overlap, one x may be the maximum of several: unpooling (``max_unpool2d``) keeps one of them only.
    I counts in the order of the memory, over the whole batch, since a one-dimensional gather is the fastest.
    """

    selects = True

    def __init__(self, layer: Any) -> None:
        """Check that the layer has one output.

        Raises:
            NoRuleError: for one that returns its indices.
        """
        if layer.return_indices:
            raise NoRuleError(
                f"{type(layer).__name__}(return_indices=True) has two outputs, and a rule has one"
            )

    def keep(self, x: Tensor, indices: Tensor) -> None:
        """Keep I, which PyTorch gives as positions in each flattened image."""
        self.batch, channels = x.shape[:2]
        self.in_size, self.out_size = x.shape[2:], indices.shape[2:]
        self.channels_last = channels > 1 and indices.stride(1) == 1
        # A step that is recorded for replay must not read what a cache may let go of.
        starts = image_starts if x.device.type == "cpu" else image_starts.__wrapped__
        start = starts(*x.shape, self.channels_last, x.device)
        if self.channels_last:
            self.indices = torch.add(start, indices.permute(0, 2, 3, 1), alpha=channels).flatten()
        else:
            self.indices = (start + indices).flatten()

    def tangent(self, v: Tensor) -> Tensor:
        """y = v[I]."""
        return self._images(self._rows(v).index_select(1, self.indices), v.shape[1], self.out_size)

    def transpose(self, u: Tensor) -> Tensor:
        """y[I] += u."""
        rows = self._rows(u)
        zeros = rows.new_zeros(len(rows), self.batch * u.shape[1] * self.in_size.numel())
        return self._images(
            zeros.scatter_add_(1, self.indices.expand_as(rows), rows), u.shape[1], self.in_size
        )

    def _rows(self, v: Tensor) -> Tensor:
        """Flatten (k · B, C, H, W) to k rows, in the order of I."""
        v = v.permute(0, 2, 3, 1) if self.channels_last else v
        return v.reshape(len(v) // self.batch, -1)

    def _images(self, rows: Tensor, channels: int, size: torch.Size) -> Tensor:
        """Undo `_rows`."""
        if self.channels_last:
            return rows.view(-1, *size, channels).permute(0, 3, 1, 2)
        return rows.view(-1, channels, *size)


@lru_cache(maxsize=64)
def image_starts(n: int, c: int, h: int, w: int, channels_last: bool, device: torch.device) -> Tensor:
    """Compute where the first pixel of each image and channel lies in the memory of (n, c, h, w)."""
    if channels_last:
        return (h * w * c * torch.arange(n, device=device))[:, None, None, None] + torch.arange(
            c, device=device
        )
    return (h * w * torch.arange(n * c, device=device)).view(n, c, 1, 1)


@register_rule(nn.MaxPool2d)
class MaxPool2d(Select):
    """Table 4."""

    def __init__(self, layer: nn.MaxPool2d) -> None:
        """Read the windows."""
        super().__init__(layer)
        self.window = (layer.kernel_size, layer.stride, layer.padding, layer.dilation, layer.ceil_mode)

    def forward(self, x: Tensor) -> Tensor:
        """y, I = maxpool(x)."""
        y, indices = F.max_pool2d(x, *self.window, return_indices=True)
        self.keep(x, indices)
        return y


@register_rule(nn.AdaptiveMaxPool2d)
class AdaptiveMaxPool2d(Select):
    """The maximum of each of a fixed number of windows."""

    def __init__(self, layer: nn.AdaptiveMaxPool2d) -> None:
        """Read the output's size."""
        super().__init__(layer)
        self.size: Any = layer.output_size

    def forward(self, x: Tensor) -> Tensor:
        """y, I = maxpool(x)."""
        y, indices = F.adaptive_max_pool2d(x, self.size, return_indices=True)
        self.keep(x, indices)
        return y


class Average(Rule):
    """A linear map of each image: F = G."""

    def average(self, x: Tensor) -> Tensor:
        """Compute the mean of each window."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """The mean of each window."""
        self.in_size = x.shape[1:]
        return self.average(x)

    def tangent(self, v: Tensor) -> Tensor:
        """The mean of each window."""
        return self.average(v)

    def input_like(self, u: Tensor) -> Tensor:
        """Return a tensor of the input's shape, which is all that PyTorch reads of it."""
        return u.new_empty(len(u), *self.in_size)


@register_rule(nn.AvgPool2d)
class AvgPool2d(Average):
    """y = the mean of each window."""

    def __init__(self, layer: nn.AvgPool2d) -> None:
        """Read the windows."""
        pairs: list[Any] = [layer.kernel_size, layer.stride, layer.padding]
        kernel, stride, padding = ([n, n] if isinstance(n, int) else list(n) for n in pairs)
        self.window = (
            kernel,
            stride,
            padding,
            layer.ceil_mode,
            layer.count_include_pad,
            layer.divisor_override,
        )

    def average(self, x: Tensor) -> Tensor:
        """Compute the mean of each window."""
        return F.avg_pool2d(x, *self.window)

    def transpose(self, u: Tensor) -> Tensor:
        """Spread each u evenly over its window."""
        return aten.avg_pool2d_backward(u, self.input_like(u), *self.window)


@register_rule(nn.AdaptiveAvgPool2d)
class AdaptiveAvgPool2d(Average):
    """y = the mean of each of a fixed number of windows."""

    def __init__(self, layer: nn.AdaptiveAvgPool2d) -> None:
        """Read the output's size."""
        self.size = layer.output_size

    def average(self, x: Tensor) -> Tensor:
        """Compute the mean of each window."""
        return F.adaptive_avg_pool2d(x, self.size)

    def transpose(self, u: Tensor) -> Tensor:
        """Spread each u evenly over its window."""
        return aten._adaptive_avg_pool2d_backward(u, self.input_like(u))
