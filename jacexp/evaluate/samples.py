"""Images and labels, checked once and handed out in batches on the network's device."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

import torch
from torch import Tensor, nn

from jacexp.errors import ConfigError, DataError
from jacexp.evaluate.frozen import finite_logits, frozen

Progress = Callable[[int, int], None]
"""Called with the samples done and the samples in all."""


class Batch(NamedTuple):
    """Samples start to stop (of the whole set), with pixels in [0,1]."""

    start: int
    stop: int
    x: Tensor
    y: Tensor


@dataclass(frozen=True)
class Samples:
    """A checked set of images, uint8 or float in [0,1], (N, *in), and labels, (N,)."""

    x: Tensor
    y: Tensor
    device: torch.device
    dtype: torch.dtype
    n_classes: int

    def __len__(self) -> int:
        return len(self.y)

    def batches(self, batch_size: int, progress: Progress | None = None) -> Iterator[Batch]:
        """Yield the samples in order, in the network's type and on its device.

        Args:
            batch_size: samples a batch, ≥ 1; the last one may be smaller.
            progress: told of every batch that is done.

        Yields:
            Batches of the whole set.
        """
        check_at_least_one(batch_size=batch_size)
        for start in range(0, len(self), batch_size):
            stop = min(start + batch_size, len(self))
            yield Batch(start, stop, self._pixels(start, stop), self.y[start:stop].to(self.device))
            if progress is not None:
                progress(stop, len(self))

    def _pixels(self, start: int, stop: int) -> Tensor:
        x = self.x[start:stop].to(self.device)
        # A copy: autograd takes no tensor made in inference mode, and nothing can write into the caller's images.
        return x.to(self.dtype).div(255) if x.dtype == torch.uint8 else x.to(self.dtype, copy=True)


def check_samples(net: nn.Module, x: Tensor, y: Tensor, n_samples: int | None = None) -> Samples:
    """Check the data against the network before any work starts.

    Args:
        net: maps (B, *in) to logits (B, C).
        x: images, (N, *in), uint8 or float in [0,1].
        y: labels, (N,), integers from 0 to C - 1.
        n_samples: take the first so many; None takes all.

    Returns:
        The samples, with the network's device and type.

    Raises:
        ConfigError: if n_samples is less than 1.
        DataError: for no samples, lengths that differ, pixels outside [0,1] or not finite, labels that the network
            does not know.
    """
    if n_samples is not None:
        check_at_least_one(n_samples=n_samples)
    x, y = x[:n_samples], y[:n_samples]
    if x.ndim < 2 or len(x) == 0 or y.shape != (len(x),):
        shapes = f"{tuple(x.shape)} and {tuple(y.shape)}"
        raise DataError(f"an evaluation needs images (N, ...) and labels (N,), N ≥ 1, not {shapes}")
    _check_values(x, y)
    tensors = chain(net.parameters(), net.buffers())
    anchor = next((t for t in tensors if t.is_floating_point()), torch.empty(0))
    samples = Samples(x, y.long(), anchor.device, anchor.dtype, n_classes=0)
    with frozen(net), torch.no_grad():
        n_classes = finite_logits(net, samples._pixels(0, 1)).shape[1]
    if y.max() >= n_classes:
        raise DataError(f"a label is {int(y.max())}, but the network has {n_classes} classes")
    return Samples(x, y.long(), anchor.device, anchor.dtype, n_classes)


def _check_values(x: Tensor, y: Tensor) -> None:
    if y.dtype.is_floating_point or y.dtype == torch.bool or y.min() < 0:
        raise DataError(f"labels must be integers ≥ 0, not {y.dtype} from {y.min().item()}")
    if x.dtype == torch.uint8:
        return
    # The negation catches NaN, which compares false with everything.
    if not x.is_floating_point() or not (x.min() >= 0 and x.max() <= 1):
        values = f"{x.dtype} in [{x.min().item():g}, {x.max().item():g}]"
        raise DataError(f"pixels must be uint8, or float in [0,1], not {values}: the network normalises them")


def check_axis(name: str, values: Sequence[float]) -> list[float]:
    """Check the points of a curve's axis.

    Args:
        name: the setting's name, for the message.
        values: finite numbers, ≥ 0.

    Returns:
        The points, in the order given.

    Raises:
        ConfigError: for no point, or one that is no such number.
    """
    points = list(values)
    if not points or not all(_is_number(p) and 0 <= p < float("inf") for p in points):
        raise ConfigError(f"{name}={points}: an axis is one or more finite numbers ≥ 0")
    return points


def check_counts(name: str, values: Sequence[int]) -> list[int]:
    """Check the points of an axis that counts something, as `check_axis`; each must be a whole number."""
    points = list(values)
    if not points or not all(_is_number(p) and isinstance(p, int) and p >= 0 for p in points):
        raise ConfigError(f"{name}={points}: this axis is one or more whole numbers ≥ 0")
    return points


def check_positive(**settings: float) -> None:
    """Check that settings are finite and above 0, and raise a ConfigError that names the first that is not."""
    for name, value in settings.items():
        if not (_is_number(value) and 0 < value < float("inf")):
            raise ConfigError(f"{name}={value}: must be finite and greater than 0")


def check_at_least_one(**settings: int) -> None:
    """Check that settings are whole numbers ≥ 1, and raise a ConfigError that names the first that is not."""
    for name, value in settings.items():
        if not (_is_number(value) and isinstance(value, int) and value >= 1):
            raise ConfigError(f"{name}={value}: must be a whole number, 1 or more")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
