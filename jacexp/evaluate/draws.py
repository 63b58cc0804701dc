"""Noise with a row for every sample, whatever the batches."""

from collections.abc import Callable

import torch
from torch import Tensor

from jacexp.evaluate.samples import Batch
from jacexp.random import make_generator

BLOCK = 50
"""Samples whose noise is drawn together; the numbers depend on it, so it is no setting."""

Draw = Callable[[tuple[int, ...], torch.Generator], Tensor]


def normal_like(batch: Batch, seed: int, *stream: str | int) -> Tensor:
    """Draw N(0, 1) noise for the pixels of a batch, (B, *in); see `rows`."""
    return rows(normal, batch.start, batch.stop, tuple(batch.x.shape[1:]), seed, *stream).to(batch.x)


def uniform_like(batch: Batch, radius: float, seed: int, *stream: str | int) -> Tensor:
    """Draw U(-radius, radius) noise for the pixels of a batch, (B, *in); see `rows`."""
    unit = rows(uniform, batch.start, batch.stop, tuple(batch.x.shape[1:]), seed, *stream)
    return (radius * unit).to(batch.x)


def rows(draw: Draw, start: int, stop: int, shape: tuple[int, ...], seed: int, *stream: str | int) -> Tensor:
    """Return rows start to stop of an endless table of noise, whose row i belongs to sample i.

    The table is drawn block by block, each from its own generator, on the CPU and in float32: the same sample meets
    the same noise in any batch, on any device, in any float type and for every network.

    Args:
        draw: makes the noise of a shape from a generator.
        start: the first row.
        stop: the row after the last.
        shape: of one row.
        seed: of the evaluation.
        stream: names the table among those of the seed.

    Returns:
        The rows, (stop - start, *shape), on the CPU.
    """
    first = start // BLOCK
    blocks = [
        draw((BLOCK, *shape), make_generator(seed, *stream, block))
        for block in range(first, (stop - 1) // BLOCK + 1)
    ]
    return torch.cat(blocks)[start - first * BLOCK : stop - first * BLOCK]


def normal(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Draw N(0, 1), float32."""
    return torch.randn(shape, generator=generator)


def uniform(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Draw U(-1, 1), float32."""
    return torch.rand(shape, generator=generator).mul_(2).sub_(1)
