"""Sums over the samples of an epoch."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from jacexp.jacobian.terms import Terms
from jacexp.methods.distributed import Share

NAMES = ("loss", "cross_entropy", "penalty", "accuracy")


class Sums:
    """Running sums over samples of loss, cross-entropy, penalty and right answers, for each of N networks.

    One network's batches are added up in fixed groups, whenever the sums are looked at or stored, for a small network's
    step is short and the order of additions decides the last digits. Those of a stack are added up at each step, in
    place, so that a recorded step can do it.
    """

    FLUSH = 50
    """Batches that wait to be added up together."""

    def __init__(self, n_networks: int = 1, device: torch.device | str = "cpu") -> None:
        self.n = 0
        """Samples so far, of each network."""
        self.total = torch.zeros(n_networks, 4, dtype=torch.float64, device=device)
        self._waiting: list[tuple[Terms, Tensor]] = []

    def reset(self) -> None:
        """Start again, in place."""
        self.n, self._waiting = 0, []
        self.total.zero_()

    def move_to(self, device: torch.device) -> None:
        """Move all there is to a device, batches that wait included."""
        self.total = self.total.to(device)
        self._waiting = [(Terms(*(t.to(device) for t in terms)), y.to(device)) for terms, y in self._waiting]

    def add(self, terms: Terms, y: Tensor) -> None:
        """Add a batch of a single network."""
        self.n += len(y)
        self._waiting.append((Terms(*(t.detach() for t in terms)), y))
        if len(self._waiting) >= self.FLUSH:
            self.total, self._waiting = self._added_up(), []

    def add_stacked(self, terms: Terms, y: Tensor) -> None:
        """Add a batch of each network, (N · B, ...), but for the number of its samples."""
        n_networks = len(self.total)
        size = len(y) // n_networks
        correct = (terms.logits.argmax(dim=1) == y).view(n_networks, -1).sum(1)
        penalty = terms.penalty.view(n_networks, -1).mean(1)
        ce = terms.cross_entropy.double().view(n_networks, -1).sum(1)
        self.total += torch.stack([size * terms.loss.double(), ce, size * penalty.double(), correct], dim=1)

    def _added_up(self) -> Tensor:
        """Return the sums with the batches that wait, (N, 4)."""
        return self.total + _sum_of(self._waiting) if self._waiting else self.total

    def means(self) -> list[dict[str, float]]:
        """Return each network's means over its samples so far, by name; nothing by name before the first one."""
        if not self.n:
            return [{} for _ in self.total]
        return [dict(zip(NAMES, row, strict=True)) for row in (self._added_up() / self.n).tolist()]

    def counts(self) -> dict[str, float]:
        """Return a single network's number of samples and of right answers, and its mean cross-entropy."""
        _, ce, _, correct = self._added_up()[0].tolist()
        return {"n": self.n, "n_correct": int(correct), "loss": ce / self.n}

    def joined(self, share: Share) -> "Sums":
        """Return the sums over the samples of all processes, which must all ask for them."""
        if share.world_size == 1:
            return self
        own = self._added_up()
        whole = Sums(len(own), own.device)
        n, total = share.total(torch.cat([own.new_tensor([self.n]), own.flatten()])).split([1, own.numel()])
        whole.n, whole.total = int(n), total.view_as(own)
        return whole

    def state(self, network: int) -> dict[str, Any]:
        """Copy all there is of a network, batches that wait included: going on gives the same to the last bit."""
        waiting = [[t.cpu() for t in (*terms, y)] for terms, y in self._waiting]
        return {"n": self.n, "total": self.total[network].cpu(), "waiting": waiting}

    def load_state(self, network: int, states: Sequence[Mapping[str, Any]]) -> None:
        """Restore what one process or several have summed up for a network."""
        self.n = sum(state["n"] for state in states)
        for state in states:
            self.total[network] += state["total"].to(self.total.device)
            batches = [[t.to(self.total.device) for t in batch] for batch in state["waiting"]]
            waiting = [(Terms(*terms), y) for *terms, y in batches]
            if len(self.total) == 1:
                self._waiting += waiting
            elif waiting:
                self.total[network] += _sum_of(waiting)


def _sum_of(batches: Sequence[tuple[Terms, Tensor]]) -> Tensor:
    """Sum batches of one network up, (4,) float64."""
    terms, ys = zip(*batches, strict=True)
    sizes = torch.tensor([len(y) for y in ys], device=ys[0].device).double()
    losses = torch.stack([t.loss for t in terms]).double()
    penalties = torch.stack([t.penalty.mean() for t in terms]).double()
    correct = torch.cat([t.logits for t in terms]).argmax(dim=1) == torch.cat(ys)
    ce = torch.cat([t.cross_entropy for t in terms]).double().sum()
    return torch.stack([losses @ sizes, ce, penalties @ sizes, correct.sum().double()])
