"""What methods draw for their penalties, for several batches at once."""

from collections.abc import Callable, Sequence

from torch import Tensor

Noise = dict[str, Tensor]
"""What a method drew for one batch, by name."""

Draw = Callable[[Tensor], Noise]
"""Draws for one batch, once its logits, (B, C), are known."""

AHEAD = 16
"""Batches drawn for at once: on a GPU a small draw takes less time than starting it. Numbers depend on it."""


class Ahead:
    """One batch's draws after another; those of `AHEAD` batches, a block, are made together and kept meanwhile.

    A draw is named by the epoch and the batch's number in it, so that a resumed run draws what it would have drawn.
    The last batch of an epoch takes the first rows of a whole one's.
    """

    def __init__(
        self,
        draw: Callable[[Tensor, int, int], Sequence[Noise]],
        *,
        sample_dim: int | None,
        n_networks: int = 1,
        batch_size: int | None = None,
    ) -> None:
        """Remember what draws a block.

        Args:
            draw: makes the draws of a block's batches, from one network's batch to draw for, the epoch and the block.
            sample_dim: the dimension of a draw that counts the samples, network by network; None where none does.
            n_networks: whose samples these are.
            batch_size: of a whole batch; None where every batch is.
        """
        self._draw, self._dim = draw, sample_dim
        self._n, self._batch_size = n_networks, batch_size
        self._block: tuple[object, ...] = ()
        self._drawn: Sequence[Noise] = ()

    def of(self, x: Tensor, epoch: int, batch: int) -> Noise:
        """Return the draws of one batch.

        Args:
            x: the batch, network by network, (n_networks · B, *in).
            epoch: counted from 0.
            batch: its number within the epoch, counted from 0.

        Returns:
            Draws for B samples of each network.
        """
        size = len(x) // self._n
        whole = self._batch_size or size
        block = (epoch, batch // AHEAD, whole, x.dtype, x.device)
        if block != self._block:
            like = x.new_empty(()).expand(whole, *x.shape[1:])
            self._drawn, self._block = self._draw(like, *block[:2]), block
        noise = self._drawn[batch % AHEAD]
        if size == whole or self._dim is None:
            return noise
        return {name: self._first(size, value) for name, value in noise.items()}

    def _first(self, size: int, value: Tensor) -> Tensor:
        assert self._dim is not None
        of_networks = value.unflatten(self._dim, (self._n, -1))
        return of_networks.narrow(self._dim + 1, 0, size).flatten(self._dim, self._dim + 1)
