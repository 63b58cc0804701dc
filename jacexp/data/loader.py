"""Batches straight from the training device: the whole set lies there as bytes, and a batch is one gather."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from jacexp.data.augment import Augment
from jacexp.data.spec import Batch, in_unit_range
from jacexp.errors import ConfigError
from jacexp.random import make_generator


class Loader:
    """Iterates over one epoch of batches; the last one may be short.

    Order and augmentation are functions of (seed, epoch) alone, drawn for the whole epoch at once. So
    iterating again gives the same batches, and `set_epoch` with ``start`` goes on in the middle of an epoch
    exactly as it would have. An epoch begins at the first ``next()``: `set_epoch` may still be called after
    ``iter()``.

    Args:
        x: images (N, C, H, W) or vectors (N, D), uint8 or float32 in [0, 1].
        y: classes, (N,) int64.
        batch_size: images in a batch; to train, at most N.
        seed: seed of order and augmentation.
        shuffle: True to train, in an order of each epoch's own; False to evaluate, in the order of the set.
        device: where the set lies and batches are made.
        dtype: of a batch's images; bytes are divided by 255 in it.
        augment: transformation of the images, as in ``jacexp.data.augment``.
        tangents: (N, T, C, H, W), computed once; or a function that computes them of each batch,
            after augmentation.

    Raises:
        ConfigError: if the batch is empty or larger than the set, or if ``augment`` would make tangents that
            were computed once those of other images.
    """

    def __init__(
        self,
        x: Tensor,
        y: Tensor,
        *,
        batch_size: int,
        seed: int = 0,
        shuffle: bool = True,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        augment: Augment | None = None,
        tangents: Tensor | Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        if batch_size < 1 or (shuffle and batch_size > len(x)):
            raise ConfigError(f"batch_size={batch_size} must lie between 1 and the {len(x)} training images")
        if augment is not None and isinstance(tangents, Tensor):
            raise ConfigError("tangents computed once do not follow augmented images: compute them a batch")
        if x.dtype not in (torch.uint8, torch.float32) or len(x) != len(y):
            raise ValueError(
                f"x {tuple(x.shape)} {x.dtype} must be uint8 or float32 and as long as y {tuple(y.shape)}"
            )
        self.device, self.dtype = torch.device(device), dtype
        self.x, self.y = x.to(self.device), y.to(self.device)
        self.tangents = tangents.to(self.device) if isinstance(tangents, Tensor) else tangents
        self.batch_size, self.seed, self.shuffle, self.augment = batch_size, seed, shuffle, augment
        self.set_epoch(0)

    def with_seed(self, seed: int) -> "Loader":
        """Return a loader of the same images, not copied, in the order and augmentation of another seed."""
        return Loader(
            self.x,
            self.y,
            batch_size=self.batch_size,
            seed=seed,
            shuffle=self.shuffle,
            device=self.device,
            dtype=self.dtype,
            augment=self.augment,
            tangents=self.tangents,
        )

    def set_epoch(self, epoch: int, start: int = 0) -> None:
        """Choose the epoch that is iterated next, and the batch, counted from 0, that it starts at."""
        self.epoch, self.start = epoch, start

    def __len__(self) -> int:
        """Number of batches in a whole epoch."""
        return -(-len(self.x) // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        """Yield the epoch's batches, from batch ``start`` on."""
        return _batches([self])


class StackedLoader:
    """Iterates over the batches of several networks at once, those of network after network, (N · B, ...).

    Networks whose batches are the same share a loader, and loaders of the same images share a gather.

    Args:
        loaders: the different loaders, of equal lengths, which differ in images and seed alone.
        which: for each network, the number of its loader.
    """

    def __init__(self, loaders: Sequence[Loader], which: Sequence[int]) -> None:
        self.loaders = list(loaders)
        groups: dict[int, list[int]] = defaultdict(list)
        for number, loader in enumerate(self.loaders):
            groups[id(loader.x)].append(number)
        self._groups = [[self.loaders[number] for number in group] for group in groups.values()]
        places = [number for group in groups.values() for number in group]
        of_network = [places.index(number) for number in which]
        self._which = None
        if of_network != list(range(len(self.loaders))):
            self._which = torch.tensor(of_network, device=self.loaders[0].device)

    def set_epoch(self, epoch: int, start: int = 0) -> None:
        """Choose the epoch that is iterated next, and the batch, counted from 0, that it starts at."""
        for loader in self.loaders:
            loader.set_epoch(epoch, start)

    def __len__(self) -> int:
        """Number of batches in a whole epoch."""
        return len(self.loaders[0])

    def __iter__(self) -> Iterator[Batch]:
        """Yield the epoch's batches, from batch ``start`` on."""
        for batches in zip(*map(_batches, self._groups), strict=True):
            x, y, tangents = zip(*batches, strict=True)
            some = None if tangents[0] is None else self._of_networks(tangents)
            yield Batch(self._of_networks(x), self._of_networks(y), some)

    def _of_networks(self, parts: Sequence[Tensor]) -> Tensor:
        joined = parts[0] if len(parts) == 1 else torch.cat(list(parts))
        if self._which is None:
            return joined
        return joined.unflatten(0, (len(self.loaders), -1)).index_select(0, self._which).flatten(0, 1)


def _batches(loaders: Sequence[Loader]) -> Iterator[Batch]:
    """Yield the batches of loaders that differ in their seed alone, those of one after another's, (D · B, ...)."""
    one, orders, draws = loaders[0], None, None
    n, device = len(one.x), one.device
    if one.shuffle or len(loaders) > 1:
        of_each = [epoch_order(n, of.seed, of.epoch) if of.shuffle else torch.arange(n) for of in loaders]
        orders = torch.stack(of_each).to(device)
    if one.augment is not None:
        generators = [make_generator(of.seed, "augment", of.epoch, device=device) for of in loaders]
        draws = torch.stack([one.augment.draw(n, generator) for generator in generators])
    for first in range(one.start * one.batch_size, n, one.batch_size):
        turn = slice(first, first + one.batch_size)
        rows = turn if orders is None else orders[:, turn].flatten()
        x = in_unit_range(_take(one.x, rows), one.dtype)
        if one.augment is not None and draws is not None:
            x = one.augment(x, draws[:, turn].flatten(0, 1))
        tangents = one.tangents
        if tangents is not None:
            tangents = _take(tangents, rows) if isinstance(tangents, Tensor) else tangents(x)
        yield Batch(x, _take(one.y, rows), tangents)


def epoch_order(n: int, seed: int, epoch: int) -> Tensor:
    """Draw the order of an epoch: a permutation of n, (n,) int64, on the CPU whatever the training device."""
    return torch.randperm(n, generator=make_generator(seed, "order", epoch))


def _take(values: Tensor, rows: Tensor | slice) -> Tensor:
    return values[rows] if isinstance(rows, slice) else values.index_select(0, rows)
