"""Several runs of one method as one stack: each network has its own strength, draws, images and step."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import override

from jacexp.data.spec import Batch
from jacexp.errors import ConfigError
from jacexp.jacobian.step import PLAIN, value_and_grads
from jacexp.jacobian.terms import Terms
from jacexp.methods.draws import Ahead, Noise
from jacexp.methods.method import Method
from jacexp.methods.stacked_network import StackedNetwork
from jacexp.methods.weights import WeightPenalty
from jacexp.random import stream_seed
from jacexp.train.descent import descent_of
from jacexp.train.module import RegularizedModule
from jacexp.train.replay import Record, Replayed, Step
from jacexp.train.training import Training


def can_be_stacked(method: type[Method]) -> bool:
    """Return whether a stack computes all that a method is: its explicit passes or its penalty on the weights."""
    of_weights = issubclass(method, WeightPenalty)
    steps = ("compute", "explicit_terms", "objective")
    has_own_steps = any(getattr(method, step) is not getattr(Method, step) for step in steps)
    has_passes = method.passes is not Method.passes
    return not has_own_steps and (of_weights or has_passes or method.strength is None)


class StackedMethod:
    """One method on stacked networks that may differ in strength, seed and normalisation, and in nothing else."""

    def __init__(self, modules: Sequence[RegularizedModule]) -> None:
        """Stack the networks of methods. They are shared from now on; see `StackedNetwork`.

        Raises:
            ConfigError: for a method that has neither explicit passes nor a penalty on the weights.
        """
        method = modules[0].method
        if not can_be_stacked(type(method)):
            raise ConfigError(
                f"{type(method).__name__} has no explicit passes, so its networks cannot be trained as one"
            )
        self.modules, self.method = list(modules), method
        self.stack = StackedNetwork([module.net for module in modules])
        self.strengths = self.stack.weights.new_tensor([module.strength_value() for module in modules])
        self.has_dropout = modules[0].has_dropout
        self.plain = all(module.strength_value() == 0 for module in modules)
        self._ahead = Ahead(
            self._draw_ahead,
            sample_dim=method.sample_dim,
            n_networks=self.stack.n,
            batch_size=modules[0].batch_size,
        )

    def draw(self, x: Tensor, epoch: int, batch: int) -> Noise:
        """Draw what each network would draw alone for batch x (N · B, *in) of an epoch."""
        return {} if self.plain else self._ahead.of(x, epoch, batch)

    def _draw_ahead(self, x: Tensor, epoch: int, block: int) -> Sequence[Noise]:
        alone = [module.draw_ahead(x, epoch, block) for module in self.modules]
        return [self.method.stacked_noise(drawn) for drawn in zip(*alone, strict=True)]

    def terms(self, batch: Batch, noise: Noise) -> tuple[Terms, Tensor]:
        """Compute the loss of each network's batch, and its gradient.

        Args:
            batch: the rows of network after network, (N · B, ...).
            noise: what `draw` gave.

        Returns:
            The terms, with a loss (N,) and a penalty (N · B,) or (N,), and the gradients as ``weights``, (N, P).
        """
        method, normalize = self.method, self.stack.normalize
        rows = self.strengths.repeat_interleave(len(batch.x) // self.stack.n)
        objective = None if self.plain else method.objective(batch, lambda _: noise, rows, normalize)
        if objective is None:  # the clean images' own loss, with or without a penalty on the weights
            objective = PLAIN
        terms, gradients = value_and_grads(
            self.stack.body, normalize(batch.x), batch.y, objective, n_networks=self.stack.n
        )
        gradient = self.stack.in_a_row(gradients)
        if self.plain or not isinstance(method, WeightPenalty):
            return terms, gradient
        penalty, of_penalty = self._weight_penalty(method, noise)
        loss = terms.loss + self.strengths * penalty
        return terms._replace(loss=loss, penalty=penalty), gradient + self.strengths[:, None] * of_penalty

    def _weight_penalty(self, method: WeightPenalty, noise: Noise) -> tuple[Tensor, Tensor]:
        """Compute each network's penalty, (N,), and its gradient, (N, P)."""
        template, body = _PenaltyOfWeights(method, self.modules[0].net), self.stack.body
        weights = {f"net.body.{name}": body.get_parameter(name).detach() for name in self.stack.names}

        def penalty(weights: dict[str, Tensor], noise: Noise) -> Tensor:
            return torch.func.functional_call(template, weights, (noise,))

        gradients, values = torch.func.vmap(torch.func.grad_and_value(penalty))(weights, noise)
        return values, torch.cat([g.flatten(1) for g in gradients.values()], dim=1)


class _PenaltyOfWeights(nn.Module):
    """A weight penalty as a module that can be called with other weights."""

    def __init__(self, method: WeightPenalty, net: nn.Module) -> None:
        super().__init__()
        self.method, self.net = method, net

    def forward(self, noise: Noise) -> Tensor:
        return self.method.weight_penalty(self.net, noise)


class StackTraining(Training):
    """A step of every network of a stack: its gradient, and its own optimiser's step; see `descent_of`."""

    def __init__(self, modules: Sequence[RegularizedModule], record: Record | None = None) -> None:
        """Stack networks that lie where they are trained.

        Args:
            modules: the methods, equal but for strength, recipe, seed and normalisation. Their networks are trained.
            record: records steps, to replay them; None to take each one eagerly, as always where dropout draws.
        """
        super().__init__(len(modules))
        self.automatic_optimization = False
        self.modules_alone = tuple(modules)  # not registered as parts: the stack holds their tensors
        self.method = StackedMethod(modules)
        self.weights = self.method.stack.weights
        self.descent = descent_of(modules, self.method.stack)
        self.sums.total = self.sums.total.to(self.weights.device)
        self.step: Step = self._step
        if record and not self.method.has_dropout:
            state = [*self.descent.changed, self.sums.total, *self.method.stack.body.buffers()]
            self.step = Replayed(self._step, state, record)

    def on_train_epoch_start(self) -> None:
        """Start the sums, unless the epoch goes on, and set strengths and rates; a diverged network stands still."""
        if self.batch_number(0) == 0:
            self.sums.reset()
        strengths = [m.strength_in(self.current_epoch) for m in self.modules_alone]
        self.method.strengths.copy_(self.method.strengths.new_tensor(strengths))
        self.descent.begin_epoch(self.current_epoch, self.alive)

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """Train each network for one step."""
        epoch, number = self.current_epoch, self.batch_number(batch_idx)
        if self.method.has_dropout:
            seeds = [stream_seed(m.seed, "dropout", epoch, number) for m in self.modules_alone]
            self.method.stack.streams.seed(seeds)
        self.step(batch, self.method.draw(batch.x, epoch, number))
        self.descent.step()
        self.sums.n += len(batch.y) // len(self.alive)

    def _step(self, batch: Batch, noise: Noise) -> None:
        terms, gradient = self.method.terms(batch, noise)
        self.descent.add(gradient)
        self.sums.add_stacked(terms, batch.y)

    @override
    def end(self, n: int) -> None:
        super().end(n)
        self.descent.end(n)

    @override
    def state(self, n: int) -> dict[str, Any]:
        own = {"weights": self.weights[n].clone(), **self.descent.state(n)}
        return own | {f"buffer.{name}": b.clone() for name, b in self._buffers_of(n)}

    @override
    def load_state(self, n: int, state: dict[str, Any]) -> None:
        self.weights[n].copy_(state["weights"])
        self.descent.load_state(n, state)
        for name, b in self._buffers_of(n):
            b.copy_(state[f"buffer.{name}"])

    def _buffers_of(self, n: int) -> Iterator[tuple[str, Tensor]]:
        return self.modules_alone[n].net.body.named_buffers()

    def configure_optimizers(self) -> None:
        """The step is taken by hand."""
