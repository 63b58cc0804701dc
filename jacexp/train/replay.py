"""A training step recorded once and replayed: on a GPU, small kernels take less time than starting them one by one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from jacexp.data.spec import Batch
from jacexp.errors import first_line
from jacexp.methods.draws import Noise
from jacexp.train.progress import say

WARM_UP = 3
"""Steps before a recording, in which libraries take their memory and the faster convolutions are found."""

TOLERANCE = 1e-2
"""Largest difference of a replayed step from an eager one, relative to a network's step: above rounding, below a
mistake."""

Step = Callable[[Batch, Noise], None]
"""A step that reads its arguments and changes tensors in place; it asks the host for nothing in between."""

Replay = Callable[[], None]

Record = Callable[[Callable[[], None]], Replay]
"""Records what a function starts on the device, and gives what starts the same again, on the same tensors."""


@dataclass(frozen=True)
class Recording:
    """What replays a step, and the tensors that it reads."""

    replay: Replay
    batch: Batch
    noise: Noise

    def __call__(self, batch: Batch, noise: Noise) -> None:
        """Replay the step with other values."""
        for own, given in zip(_tensors(self.batch, self.noise), _tensors(batch, noise), strict=True):
            own.copy_(given)
        self.replay()


class Replayed:
    """Takes steps by replaying a recording of each shape of batch, which is compared with an eager step first.

    It is recorded with other values than it is compared with, so that whatever it would keep of them is noticed too.
    A step that cannot be recorded, or whose replay gives anything else, is taken eagerly from then on.
    """

    def __init__(self, step: Step, state: Sequence[Tensor], record: Record) -> None:
        """Replay a step.

        Args:
            step: what is recorded. Whatever else it reads must stay where it is in memory and be changed in place.
            state: all tensors that it changes, (N, ...) of N networks.
            record: what records it.
        """
        self.step, self.state, self.record = step, list(state), record
        self._recordings: dict[tuple[torch.Size, ...], Step] = {}

    def __call__(self, batch: Batch, noise: Noise) -> None:
        """Replay or record a step."""
        shapes = tuple(t.shape for t in _tensors(batch, noise))
        if shapes in self._recordings:
            self._recordings[shapes](batch, noise)
        else:
            self._recordings[shapes] = self._first_step(batch, noise)

    def _first_step(self, batch: Batch, noise: Noise) -> Step:
        """Compute a step eagerly, and return how further ones are taken."""
        before = [t.clone() for t in self.state]
        for _ in range(WARM_UP):
            self.step(batch, noise)
        self._put_back(before)
        self.step(batch, noise)
        after = [t.clone() for t in self.state]
        self._put_back(before)
        try:
            recording = self._recorded(batch, noise)
            self._put_back(before)
            recording(batch, noise)
            self._compare(before, after)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            say(f"a step is not replayed but taken eagerly, which is slower: {first_line(error)}")
            self._put_back(after)
            return self.step
        self._put_back(after)
        return recording

    def _recorded(self, batch: Batch, noise: Noise) -> Recording:
        """Record a step on tensors of its own, with the values of this one in the reverse order."""
        tangents = None if batch.tangents is None else _reversed(batch.tangents)
        own = Batch(_reversed(batch.x), _reversed(batch.y), tangents)
        drawn = {name: _reversed(t) for name, t in noise.items()}
        return Recording(self.record(lambda: self.step(own, drawn)), own, drawn)

    def _compare(self, before: Sequence[Tensor], after: Sequence[Tensor]) -> None:
        for old, eager, replayed in zip(before, after, self.state, strict=True):
            finite = eager.isfinite()  # a network that is not has nothing to compare
            off, step = (
                _lengths(torch.where(finite, change, 0)) for change in (replayed - eager, eager - old)
            )
            wrong = ~(off <= TOLERANCE * step)
            if wrong.any():
                raise RuntimeError(f"its replay is off by {(off / step)[wrong].max():.1e} of the step")

    def _put_back(self, values: Sequence[Tensor]) -> None:
        for t, value in zip(self.state, values, strict=True):
            t.copy_(value)


def _lengths(changes: Tensor) -> Tensor:
    """Return the length of each network's change, (N, ...) -> (N,): a long one must not hide a mistake in another."""
    return changes.double().reshape(len(changes), -1).norm(dim=1)


def _reversed(t: Tensor) -> Tensor:
    """Copy a tensor, laid out in memory as it is, with its numbers from last to first."""
    return t.clone().copy_(t.flip(tuple(range(t.ndim))))


def _tensors(batch: Batch, noise: Noise) -> list[Tensor]:
    return [t for t in (*batch, *noise.values()) if t is not None]


def record_on(device: torch.device) -> Record | None:
    """Return what records steps on a device; None where taking them eagerly is as fast."""
    return CudaGraphs() if device.type == "cuda" else None


class CudaGraphs:
    """Records what a function starts on a GPU as a CUDA graph; all graphs share one pool of memory."""

    def __init__(self) -> None:
        """Make the pool."""
        self.pool = torch.cuda.graph_pool_handle()

    def __call__(self, function: Callable[[], None]) -> Replay:
        """Record a function that has run before with the same shapes; it runs once more."""
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):  # libraries take memory a stream, and must not while they are recorded
            function()
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self.pool, stream=aside):
            function()
        return graph.replay
