"""A network and the samples that it is evaluated on, checked once and handed out in batches on its device."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple

import torch
from torch import Tensor

from jacexp.errors import DataError
from jacexp.evaluate.frozen import finite_logits, frozen
from jacexp.evaluate.settings import AtLeastOne, checked

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
    """What an evaluation is given; `check_samples` makes it.

    Attributes:
        net: maps pixels in [0,1], (B, *in), to logits, (B, C).
        x: images, (N, *in), uint8 or float in [0,1].
        y: labels, (N,).
        device: the network's.
        dtype: the network's.
        n_classes: C.
        batch_size: images a pass; no number depends on it.
        progress: told of the samples done.
    """

    net: Any
    x: Tensor
    y: Tensor
    device: torch.device
    dtype: torch.dtype
    n_classes: int
    batch_size: int
    progress: Progress | None

    def __len__(self) -> int:
        return len(self.y)

    def batches(self, batch_size: int | None = None) -> Iterator[Batch]:
        """Yield the samples in order, in the network's type and on its device; the last batch may be smaller."""
        size = batch_size or self.batch_size
        for start in range(0, len(self), size):
            stop = min(start + size, len(self))
            yield Batch(start, stop, self.pixels(start, stop), self.y[start:stop].to(self.device))
            if self.progress is not None:
                self.progress(stop, len(self))

    def pixels(self, start: int, stop: int) -> Tensor:
        """Return images start to stop in [0,1], a copy: nothing can write into the caller's."""
        x = self.x[start:stop].to(self.device)
        # autograd takes no tensor made in inference mode, which a copy is not
        return x.to(self.dtype).div(255) if x.dtype == torch.uint8 else x.to(self.dtype, copy=True)


@checked
def check_samples(
    net: Any,
    x: Tensor,
    y: Tensor,
    *,
    n_samples: AtLeastOne | None = None,
    batch_size: AtLeastOne = 250,
    progress: Any = None,
) -> Samples:
    """Check the data against the network before any work starts.

    Args:
        net: a module that maps (B, *in) to logits (B, C).
        x: images, (N, *in), uint8 or float in [0,1].
        y: labels, (N,), integers from 0 to C − 1.
        n_samples: take the first so many; None takes all.
        batch_size: images a pass.
        progress: called with the samples done and the samples in all, or None.

    Returns:
        The samples, with the network's device and type.

    Raises:
        DataError: for no samples, lengths that differ, pixels outside [0,1] or not finite, labels that the network
            does not know.
        EvaluationError: for logits that are not finite.
    """
    x, y = x[:n_samples], y[:n_samples]
    if x.ndim < 2 or len(x) == 0 or y.shape != (len(x),):
        shapes = f"{tuple(x.shape)} and {tuple(y.shape)}"
        raise DataError(f"an evaluation needs images (N, ...) and labels (N,), N ≥ 1, not {shapes}")
    _check_values(x, y)
    tensors = chain(net.parameters(), net.buffers())
    anchor = next((t for t in tensors if t.is_floating_point()), torch.empty(0))
    found = (net, x, y.long(), anchor.device, anchor.dtype)
    with frozen(net), torch.no_grad():
        n_classes = finite_logits(net, Samples(*found, 0, 1, None).pixels(0, 1)).shape[1]
    if y.max() >= n_classes:
        raise DataError(f"a label is {int(y.max())}, but the network has {n_classes} classes")
    return Samples(*found, n_classes, batch_size, progress)


def _check_values(x: Tensor, y: Tensor) -> None:
    if y.dtype.is_floating_point or y.dtype == torch.bool or y.min() < 0:
        raise DataError(f"labels must be integers ≥ 0, not {y.dtype} from {y.min().item()}")
    if x.dtype == torch.uint8:
        return
    # The negation catches NaN, which compares false with everything.
    if not x.is_floating_point() or not (x.min() >= 0 and x.max() <= 1):
        values = f"{x.dtype} in [{x.min().item():g}, {x.max().item():g}]"
        raise DataError(f"pixels must be uint8, or float in [0,1], not {values}: the network normalises them")
