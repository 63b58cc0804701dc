"""What the training of one network and that of a stack of them have in common."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from jacexp.data.spec import Batch
from jacexp.methods.distributed import Share
from jacexp.methods.sums import Sums
from jacexp.train.lightning import LeanLightningModule


class Training(LeanLightningModule):
    """The training of N networks of which each can be saved, go on elsewhere, or end before the others."""

    def __init__(self, n_networks: int = 1) -> None:
        super().__init__()
        self.alive = [True] * n_networks
        """Whose loss is finite."""
        self.start = (0, 0)
        """The epoch in which this process begins or goes on, and how many of its batches are done."""
        self.sums = Sums(n_networks)
        """Of the epoch under way."""
        self.val_sums: Sums | None = None
        """Of the epoch's validation, where a single network was validated."""
        self.share = Share()
        """This process's part of each batch."""

    def batch_number(self, batch_idx: int) -> int:
        """Return the number of a batch within its epoch, of which the first batches may have been done before."""
        epoch, batches = self.start
        return batch_idx + (batches if self.current_epoch == epoch else 0)

    def end(self, n: int) -> None:
        """Train network n no further: it has diverged."""
        self.alive[n] = False

    def state(self, n: int) -> dict[str, Any]:
        """Copy the tensors of network n's training: ``weights``, (P,), what its optimiser has, and buffers by name.

        That is the ``velocity``, (P,), of v <- m v + g, w <- w − α v; of another optimiser ``optimizer``, PyTorch's
        own state of the network's parameters in their order.
        """
        raise NotImplementedError

    def load_state(self, n: int, state: dict[str, Any]) -> None:
        """Restore what `state` copied, before the training.

        Raises:
            KeyError: for the state of another network; so may be a RuntimeError.
        """
        raise NotImplementedError

    @override
    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        return batch  # the whole set lies on the training device


def parts(vector: Tensor, tensors: Sequence[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
    """Pair tensors with copies of the parts of a vector (P,), each in its tensor's shape, type and place.

    Yields:
        A tensor and its part.
    """
    for t, part in zip(tensors, vector.split([t.numel() for t in tensors]), strict=True):
        yield t, part.view_as(t).to(t, copy=True)
