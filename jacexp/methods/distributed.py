"""One process's part of the work where several train one network together."""

from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from jacexp.data.spec import Batch
from jacexp.methods.draws import Noise


@dataclass(frozen=True)
class Share:
    """The rows ``rank``, ``rank + world_size``, … of every batch; all of them where one process is alone.

    The loss of the joined batch is the sum over processes of each one's mean loss times its part of the rows. That
    holds for penalties of the weights too, for the parts add up to 1. `DistributedDataParallel` averages gradients, so
    `weighted` multiplies by the number of processes as well.
    """

    rank: int = 0
    world_size: int = 1

    def count(self, n: int) -> int:
        """Return the number of this process's rows of n; a short last batch may have none for it."""
        return len(range(self.rank, n, self.world_size))

    def rows(self, values: Tensor, dim: int = 0) -> Tensor:
        """Select this process's rows of values along a dimension; the first one where it has none."""
        if self.world_size == 1:
            return values
        own = slice(self.rank, None, self.world_size) if self.count(values.shape[dim]) else slice(1)
        return values[(slice(None),) * dim + (own,)].contiguous()

    def batch(self, batch: Batch) -> Batch:
        """Select this process's samples of a batch; the first one, to be weighted by 0, where it has none."""
        return Batch(*(None if part is None else self.rows(part) for part in batch))  # type: ignore[arg-type]

    def noise(self, noise: Noise, dim: int | None) -> Noise:
        """Select this process's part of what was drawn for a batch; all, where draws belong to the weights (None)."""
        return noise if dim is None else {name: self.rows(drawn, dim) for name, drawn in noise.items()}

    def weighted(self, loss: Tensor, n: int) -> Tensor:
        """Weight this process's loss of a batch of n, so that the average over processes is that of the batch."""
        return loss if self.world_size == 1 else loss * (self.world_size * self.count(n) / n)

    def total(self, values: Tensor) -> Tensor:
        """Add values up over the processes."""
        if self.world_size > 1:
            values = values.clone()
            dist.all_reduce(values)
        return values

    def agree(self, *flags: bool) -> list[bool]:
        """Return for each flag whether it is set in any process: the same answer to all, without waiting for a GPU."""
        if self.world_size == 1:
            return list(flags)
        seen = torch.tensor(flags, dtype=torch.uint8)
        dist.all_reduce(seen, dist.ReduceOp.MAX)
        return [bool(flag) for flag in seen.tolist()]

    def wait(self) -> None:
        """Wait until all processes are here."""
        if self.world_size > 1:
            dist.barrier()

    def gather(self, value: Any) -> list[Any]:
        """Return what each process has, in the order of their ranks."""
        values = [value] * self.world_size
        if self.world_size > 1:
            dist.all_gather_object(values, value)
        return values

    def copy_buffers(self, net: nn.Module) -> None:
        """Copy to every process the first one's buffers: batch norm's running statistics."""
        if self.world_size > 1:
            for buffer in net.buffers():
                dist.broadcast(buffer, src=0)
