"""Several networks of one architecture as one: their weights, their buffers and their normalisation."""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from jacexp.jacobian.rules.stacked import RandomStreams
from jacexp.models.network import Network, Normalize


class StackedNormalize(Normalize):
    """Normalisation with a mean and a deviation for each network, (C, 1, 1) or (C, H, W) each."""

    def __init__(self, nets: Sequence[Network]) -> None:
        super().__init__(
            *(torch.stack([getattr(net.normalize, of) for net in nets]) for of in ("mean", "std"))
        )
        self._rows: dict[int, tuple[Tensor, Tensor]] = {}

    def rows(self, n_rows: int) -> tuple[Tensor, Tensor]:
        """Return mean and deviation of each of N · B rows, kept where they are for a replayed step to read."""
        if n_rows not in self._rows:
            repeats = n_rows // len(self.mean)
            self._rows[n_rows] = (
                self.mean.repeat_interleave(repeats, dim=0),
                self.std.repeat_interleave(repeats, dim=0),
            )
        return self._rows[n_rows]

    def forward(self, x: Tensor) -> Tensor:
        """(x − mean_n) / std_n, (N · B, C, H, W)."""
        mean, std = self.rows(len(x))
        return (x - mean) / std

    def direction(self, t: Tensor) -> Tensor:
        """t / std_n, (N · B, ..., C, H, W)."""
        std = self.rows(len(t))[1]
        return t / std.view(len(std), *[1] * (t.ndim - std.ndim), *std.shape[1:])


class StackedNetwork(nn.Module):
    """N networks of one architecture as one.

    Attributes:
        body: the layers, with parameters and buffers (N, ...), for `value_and_grads`; it cannot be called.
        normalize: each network's normalisation.
        weights: (N, P), every parameter of each network in a row. Those of ``body`` and of the networks themselves are
            views of it, and the networks' buffers views of ``body``'s: what trains the stack trains the networks.
        names: the parameters in the order of ``weights``.
        streams: where dropout draws.
    """

    def __init__(self, nets: Sequence[Network]) -> None:
        """Stack networks that lie on one device."""
        super().__init__()
        self.n, self.n_classes = len(nets), nets[0].n_classes
        self.body = copy.deepcopy(nets[0].body)
        self.normalize = StackedNormalize(nets)
        bodies = [net.body for net in nets]
        self.names = [name for name, _ in self.body.named_parameters()]
        self.weights = torch.stack(
            [torch.cat([p.detach().flatten() for p in body.parameters()]) for body in bodies]
        )
        self.streams = RandomStreams(self.n, self.weights.device)
        for layer in self.body.modules():
            layer.streams = self.streams  # type: ignore[assignment]  # read by the rule of dropout
        self._share_parameters(bodies)
        self._share_buffers(bodies)

    def _share_parameters(self, bodies: list[nn.Module]) -> None:
        start = 0
        for name in self.names:
            p = self.body.get_parameter(name)
            stacked = self.weights[:, start : start + p.numel()].view(self.n, *p.shape)
            start += p.numel()
            layer, _, own = name.rpartition(".")
            self.body.get_submodule(layer)._parameters[own] = nn.Parameter(stacked, requires_grad=False)
            for body, part in zip(bodies, stacked, strict=True):
                body.get_parameter(name).data = part

    def _share_buffers(self, bodies: list[nn.Module]) -> None:
        for name in [name for name, _ in self.body.named_buffers()]:
            stacked = torch.stack([body.get_buffer(name) for body in bodies])
            layer, _, own = name.rpartition(".")
            for owner, part in zip([self.body, *bodies], [stacked, *stacked], strict=True):
                owner.get_submodule(layer)._buffers[own] = part

    def in_a_row(self, gradients: dict[str, Tensor]) -> Tensor:
        """Lay gradients (N, ...) out as ``weights``, (N, P)."""
        return torch.cat([gradients[name].flatten(1) for name in self.names], dim=1)
