"""Convolutions of several networks at once, each with its own kernels: three ways, and the faster one is taken."""

import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from jacexp.jacobian.rules.kernels import Pair, conv_transpose, conv_weight

Geometry = tuple[Pair, Pair, Pair, int]
"""Stride, padding, dilation and groups of each network's convolution."""


class Parts:
    """Rows (k · N · B, ...), k vectors a sample, N networks, B samples, seen as those of each network."""

    def __init__(self, n_networks: int, n_rows: int) -> None:
        """Remember N and B, from the N · B rows of a forward pass."""
        self.n, self.batch = n_networks, n_rows // n_networks

    def split(self, v: Tensor) -> Tensor:
        """(k · N · B, ...) -> (N, k · B, ...)."""
        return v.unflatten(0, (-1, self.n, self.batch)).transpose(0, 1).flatten(1, 2)

    def join(self, v: Tensor) -> Tensor:
        """(N, k · B, ...) -> (k · N · B, ...)."""
        return v.unflatten(1, (-1, self.batch)).transpose(0, 1).flatten(0, 2)

    def as_channels(self, v: Tensor) -> Tensor:
        """(k · N · B, C, ...) -> (k · B, N · C, ...)."""
        return v.unflatten(0, (-1, self.n, self.batch)).transpose(1, 2).flatten(2, 3).flatten(0, 1)

    def from_channels(self, v: Tensor) -> Tensor:
        """(k · B, N · C, ...) -> (k · N · B, C, ...)."""
        return v.unflatten(1, (self.n, -1)).unflatten(0, (-1, self.batch)).transpose(1, 2).flatten(0, 2)

    def pieces(self, v: Tensor) -> list[Tensor]:
        """(k · N · B, ...) -> N tensors (k · B, ...), each laid out in memory as v is."""
        blocks = v.split(self.batch)
        return [blocks[i] if len(blocks) == self.n else torch.cat(blocks[i :: self.n]) for i in range(self.n)]

    def joined(self, pieces: list[Tensor]) -> Tensor:
        """Undo `pieces`."""
        blocks = [piece.split(self.batch) for piece in pieces]
        return torch.cat([b for of_vector in zip(*blocks, strict=True) for b in of_vector])


class OneByOne:
    """One call a network: the fastest on a CPU, whose libraries fill it with a single network's batch."""

    @staticmethod
    def forward(x: Tensor, W: Tensor, b: Tensor | None, parts: Parts, geometry: Geometry) -> Tensor:
        """Conv(x, W_n, b_n)."""
        biases = [None] * parts.n if b is None else list(b.unbind())
        triples = zip(parts.pieces(x), W.unbind(), biases, strict=True)
        return parts.joined([F.conv2d(x_n, W_n, b_n, *geometry) for x_n, W_n, b_n in triples])

    @staticmethod
    def transpose(u: Tensor, W: Tensor, in_size: Pair, parts: Parts, geometry: Geometry) -> Tensor:
        """ConvTranspose(u, W_n, 0)."""
        pairs = zip(parts.pieces(u), W.unbind(), strict=True)
        return parts.joined([conv_transpose(u_n, W_n, in_size, *geometry) for u_n, W_n in pairs])

    @staticmethod
    def weight(v: Tensor, u: Tensor, W: Tensor, parts: Parts, geometry: Geometry) -> Tensor:
        """∂⟨u_n, Conv(v_n, W_n)⟩/∂W_n."""
        triples = zip(parts.pieces(v), parts.pieces(u), W.unbind(), strict=True)
        return torch.stack([conv_weight(v_n, u_n, W_n, *geometry) for v_n, u_n, W_n in triples])


class Grouped:
    """One convolution of N times as many channels in N times as many groups."""

    @staticmethod
    def forward(x: Tensor, W: Tensor, b: Tensor | None, parts: Parts, geometry: Geometry) -> Tensor:
        """Conv(x, W_n, b_n)."""
        bias = None if b is None else b.flatten()
        y = F.conv2d(parts.as_channels(x), W.flatten(0, 1), bias, *_of_all(parts, geometry))
        return parts.from_channels(y)

    @staticmethod
    def transpose(u: Tensor, W: Tensor, in_size: Pair, parts: Parts, geometry: Geometry) -> Tensor:
        """ConvTranspose(u, W_n, 0)."""
        x = conv_transpose(parts.as_channels(u), W.flatten(0, 1), in_size, *_of_all(parts, geometry))
        return parts.from_channels(x)

    @staticmethod
    def weight(v: Tensor, u: Tensor, W: Tensor, parts: Parts, geometry: Geometry) -> Tensor:
        """∂⟨u_n, Conv(v_n, W_n)⟩/∂W_n."""
        v, u = parts.as_channels(v), parts.as_channels(u)
        return conv_weight(v, u, W.flatten(0, 1), *_of_all(parts, geometry)).view_as(W)


def _of_all(parts: Parts, geometry: Geometry) -> Geometry:
    """Return the geometry of all networks' convolutions as one."""
    return *geometry[:3], parts.n * geometry[3]


class Products:
    """Batched matrix products with the windows of each image laid out as columns; for groups = 1."""

    @staticmethod
    def forward(x: Tensor, W: Tensor, b: Tensor | None, parts: Parts, geometry: Geometry) -> Tensor:
        """Conv(x, W_n, b_n)."""
        columns, size = _columns(x, W.shape[-2:], geometry)
        y = torch.matmul(W.flatten(2)[:, None], parts.split(columns))
        if b is not None:
            y = y + b[:, None, :, None]
        return parts.join(y).unflatten(2, size)

    @staticmethod
    def transpose(u: Tensor, W: Tensor, in_size: Pair, parts: Parts, geometry: Geometry) -> Tensor:
        """ConvTranspose(u, W_n, 0)."""
        stride, padding, dilation, _ = geometry
        columns = parts.join(torch.matmul(W.flatten(2).mT[:, None], parts.split(u.flatten(2))))
        return F.fold(columns, in_size, W.shape[-2:], dilation, padding, stride)

    @staticmethod
    def weight(v: Tensor, u: Tensor, W: Tensor, parts: Parts, geometry: Geometry) -> Tensor:
        """∂⟨u_n, Conv(v_n, W_n)⟩/∂W_n."""
        columns, _ = _columns(v, W.shape[-2:], geometry)
        products = torch.matmul(parts.split(u.flatten(2)), parts.split(columns).mT)
        return products.sum(1).view_as(W)


def _columns(x: Tensor, kernel: Pair, geometry: Geometry) -> tuple[Tensor, Pair]:
    """Lay out windows, (rows, C, H, W) -> (rows, C · k · k, H' · W'), by one copy; return (H', W') too."""
    (sy, sx), (py, px), (dy, dx), _ = geometry
    x = F.pad(x, [px, px, py, py]).contiguous()
    size = tuple(
        (n - d * (k - 1) - 1) // s + 1
        for n, k, d, s in zip(x.shape[2:], kernel, (dy, dx), (sy, sx), strict=True)
    )
    row, channel, line, pixel = x.stride()
    shape = (*x.shape[:2], *kernel, *size)
    windows = x.as_strided(shape, (row, channel, dy * line, dx * pixel, sy * line, sx * pixel))
    return windows.reshape(len(x), -1, size[0] * size[1]), size


def convolve(operation: str, *arguments: Any) -> Tensor:
    """Compute ``forward``, ``transpose`` or ``weight`` of stacked convolutions in the way that is the fastest here.

    On a CPU that is `OneByOne`, always, so that a number never depends on a clock. Elsewhere the ways are timed once
    for each operation and shape.

    Args:
        operation: the name of a function that each way has.
        arguments: what it takes.

    Returns:
        What it gives.
    """
    way: Any = OneByOne if arguments[0].device.type == "cpu" else _fastest(operation, arguments)
    return getattr(way, operation)(*arguments)


_known: dict[Any, Any] = {}


def _fastest(operation: str, arguments: tuple[Any, ...]) -> Any:
    geometry, first = arguments[-1], arguments[0]
    shapes = tuple(a.shape if isinstance(a, Tensor) else None for a in arguments[:3])
    key = (operation, shapes, first.dtype, first.device, geometry)
    if key not in _known:
        ways = [Grouped, Products] if geometry[3] == 1 else [Grouped]
        _known[key] = min(ways, key=lambda way: _seconds(getattr(way, operation), arguments, first.device))
    return _known[key]


def _seconds(compute: Callable[..., Tensor], arguments: tuple[Any, ...], device: torch.device) -> float:
    """Time the second call, in seconds; infinity where it does not fit into memory."""
    try:
        for _ in range(2):
            torch.accelerator.synchronize(device)
            start = time.perf_counter()
            compute(*arguments)
            torch.accelerator.synchronize(device)
    except torch.OutOfMemoryError:
        return float("inf")
    return time.perf_counter() - start
