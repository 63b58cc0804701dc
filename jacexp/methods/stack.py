"""Several runs of one method as one: stacked networks, each with its own strength, draws and class of images."""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from jacexp.data.spec import Batch
from jacexp.errors import ConfigError
from jacexp.jacobian.explicit import value_and_grads
from jacexp.jacobian.rules.stacked import RandomStreams
from jacexp.jacobian.step import PLAIN
from jacexp.jacobian.terms import Terms
from jacexp.methods.base import RegularizedModule
from jacexp.methods.draws import Ahead, Noise
from jacexp.methods.weights import WeightPenalty
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


class Stack(nn.Module):
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


def can_be_stacked(method: type[RegularizedModule]) -> bool:
    """Return whether a stack computes all that a method is: its explicit passes or its penalty on the weights."""
    of_weights = issubclass(method, WeightPenalty)
    general = WeightPenalty if of_weights else RegularizedModule
    steps = ("training_step", "terms", "explicit_terms", "plain_terms")
    has_own_steps = any(getattr(method, step) is not getattr(general, step) for step in steps)
    has_passes = method.passes is not RegularizedModule.passes
    return not has_own_steps and (of_weights or has_passes or method.strength is None)


class StackedMethod:
    """One method on stacked networks that may differ in strength, seed and normalisation, and in nothing else."""

    def __init__(self, modules: Sequence[RegularizedModule]) -> None:
        """Stack the networks of methods. They are shared from now on; see `Stack`.

        Raises:
            ConfigError: for a method that has neither explicit passes nor a penalty on the weights.
        """
        if not can_be_stacked(type(modules[0])):
            raise ConfigError(
                f"{type(modules[0]).__name__} has no explicit passes, so its networks cannot be trained as one"
            )
        self.modules = list(modules)
        self.stack = Stack([module.net for module in modules])
        self.strengths = self.stack.weights.new_tensor([module.strength_value() for module in modules])
        self.has_dropout = modules[0].has_dropout
        self.plain = all(module.strength_value() == 0 for module in modules)
        self._ahead = Ahead(
            self._draw_ahead,
            sample_dim=modules[0].sample_dim,
            n_networks=self.stack.n,
            batch_size=modules[0].batch_size,
        )

    def draw(self, x: Tensor, epoch: int, batch: int) -> Noise:
        """Draw what each network would draw alone for batch x (N · B, *in) of an epoch."""
        return {} if self.plain else self._ahead.of(x, epoch, batch)

    def _draw_ahead(self, x: Tensor, epoch: int, block: int) -> Sequence[Noise]:
        alone = [module.draw_ahead(x, epoch, block) for module in self.modules]
        return [self.modules[0].stacked_noise(drawn) for drawn in zip(*alone, strict=True)]

    def terms(self, batch: Batch, noise: Noise) -> tuple[Terms, Tensor]:
        """Compute the loss of each network's batch, and its gradient.

        Args:
            batch: the rows of network after network, (N · B, ...).
            noise: what `draw` gave.

        Returns:
            The terms, with a loss (N,) and a penalty (N · B,) or (N,), and the gradients as ``weights``, (N, P).
        """
        template, normalize = self.modules[0], self.stack.normalize
        rows = self.strengths.repeat_interleave(len(batch.x) // self.stack.n)
        objective = None if self.plain else template.objective(batch, noise, rows, normalize)
        if objective is None:  # the clean images' own loss, with or without a penalty on the weights
            objective = PLAIN
        terms, gradients = value_and_grads(
            self.stack.body, normalize(batch.x), batch.y, objective, n_networks=self.stack.n
        )
        gradient = self.stack.in_a_row(gradients)
        if self.plain or not isinstance(template, WeightPenalty):
            return terms, gradient
        penalty, of_penalty = self._weight_penalty(template, noise)
        loss = terms.loss + self.strengths * penalty
        return terms._replace(loss=loss, penalty=penalty), gradient + self.strengths[:, None] * of_penalty

    def _weight_penalty(self, method: WeightPenalty, noise: Noise) -> tuple[Tensor, Tensor]:
        """Compute each network's penalty, (N,), and its gradient, (N, P)."""
        template, body = _PenaltyOfWeights(method), self.stack.body
        weights = {f"method.net.body.{name}": body.get_parameter(name).detach() for name in self.stack.names}

        def penalty(weights: dict[str, Tensor], noise: Noise) -> Tensor:
            return torch.func.functional_call(template, weights, (noise,))

        gradients, values = torch.func.vmap(torch.func.grad_and_value(penalty))(weights, noise)
        return values, torch.cat([g.flatten(1) for g in gradients.values()], dim=1)


class _PenaltyOfWeights(nn.Module):
    """A weight penalty as a module that can be called with other weights."""

    def __init__(self, method: WeightPenalty) -> None:
        super().__init__()
        self.method = method

    def forward(self, noise: Noise) -> Tensor:
        return self.method.weight_penalty(noise)
