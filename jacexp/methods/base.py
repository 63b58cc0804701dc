"""What every method shares: the loss, mean cross-entropy + strength x mean penalty, as a LightningModule."""

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.utils import parameters_to_vector
from typing_extensions import override

from jacexp.data.spec import Batch
from jacexp.data.tangents import Tangents
from jacexp.jacobian.explicit import explicit_loss, has_explicit_steps
from jacexp.jacobian.linearize import Engine, Linearization, linearize
from jacexp.jacobian.shapes import require_penalty
from jacexp.jacobian.step import Factor, Objective, Step
from jacexp.jacobian.terms import Terms
from jacexp.methods.draws import AHEAD, Ahead, Noise
from jacexp.methods.hyperparameters import Declared
from jacexp.methods.optim import Recipe
from jacexp.methods.sums import Sums
from jacexp.methods.training import Training, parts
from jacexp.models.network import Network, Normalize
from jacexp.random import make_generator, stream_seed


class RegularizedModule(Training, Declared):
    """Cross-entropy with a penalty: loss = mean(CE) + strength · mean(penalty), both one number a sample.

    A method is a subclass in a file of its own: its annotations are its hyper-parameters (and so the keys of its YAML),
    the one that is a `Strength` multiplies the penalty, and `penalty` is its equation. Strength 0 is plain training,
    bit for bit.
    """

    sample_dim: ClassVar[int | None] = 0
    """The dimension of what `draw` returns that counts the samples; None where the draws belong to the weights."""

    trains_on_clean: ClassVar[bool] = True
    """Whether the images as they are belong to what is trained on, and so move batch norm's running statistics."""

    def __init__(
        self,
        net: Network,
        *,
        recipe: Recipe | None = None,
        seed: int = 0,
        engine: Engine = "auto",
        batch_size: int | None = None,
        **hyperparameters: Any,
    ) -> None:
        """Wrap a network in the method.

        Args:
            net: the network, which maps images in [0, 1] to logits.
            recipe: the optimiser.
            seed: the seed of every draw of the training.
            engine: what multiplies by Jacobians.
            batch_size: that of all batches but an epoch's last, which may be short; None where every batch is whole.
            hyperparameters: what the class declares.

        Raises:
            ConfigError: for a hyper-parameter that is missing, unknown, or has a value that is not allowed.
        """
        super().__init__()
        for name, value in self.checked(hyperparameters).items():
            setattr(self, name, value)
        self.net = net
        self.recipe = recipe or Recipe()
        self.seed = seed
        self.engine: Engine = engine
        self.batch_size = batch_size
        self._optimizer_state: Tensor | dict[str, Any] | None = None
        self._ahead = Ahead(self.draw_ahead, sample_dim=self.sample_dim, batch_size=self.batch_size)
        self.has_dropout = any(isinstance(m, _DropoutNd) and m.p > 0 for m in net.modules())

    def tangents(
        self,
        in_shape: tuple[int, ...],  # noqa: ARG002  # most methods need none
        device: torch.device,  # noqa: ARG002
        dtype: torch.dtype = torch.float32,  # noqa: ARG002
    ) -> Tangents | None:
        """Make what computes the tangent vectors that the batches must bring along; None for most methods."""
        return None

    def draw(self, x: Tensor, generator: torch.Generator) -> Noise:  # noqa: ARG002  # most methods draw nothing
        """Draw what the penalty of one batch x (B, *in) needs; apart from it, the penalty is a pure function."""
        return {}

    def draw_ahead(self, x: Tensor, epoch: int, block: int) -> Sequence[Noise]:
        """Draw for the ``AHEAD`` batches of an epoch's block, each of the shape of x."""
        return self.draw_several(x, AHEAD, make_generator(self.seed, "noise", epoch, block, device=x.device))

    def draw_several(self, x: Tensor, n: int, generator: torch.Generator) -> Sequence[Noise]:
        """Draw for n batches of the shape of x: where draws belong to samples, all at once."""
        dim = self.sample_dim
        if dim is None:
            return [self.draw(x, generator) for _ in range(n)]
        drawn = self.draw(x[:1].expand(n * len(x), *x.shape[1:]), generator)
        parts = {name: value.unflatten(dim, (n, -1)) for name, value in drawn.items()}
        return [{name: part.select(dim, i) for name, part in parts.items()} for i in range(n)]

    def stacked_noise(self, drawn: Sequence[Noise]) -> Noise:
        """Join what was drawn for each network to what a stack of them needs: more samples, or (N, ...)."""
        dim = self.sample_dim
        parts = {name: [noise[name] for noise in drawn] for name in drawn[0]}
        return {n: torch.stack(vs) if dim is None else torch.cat(vs, dim) for n, vs in parts.items()}

    def penalty(self, lin: Linearization, batch: Batch, noise: Noise) -> Tensor:
        """Compute the penalty of each sample, (B,), from the linearised network."""
        raise NotImplementedError

    def passes(
        self, step: Step, batch: Batch, noise: Noise, strength: Factor, normalize: Normalize
    ) -> Tensor:
        """Run the penalty's explicit passes, which hand the gradients to ``step``; see `jacexp.jacobian.Step`.

        Optional: without them a method is differentiated automatically and cannot be trained as a stack.

        Args:
            step: the batch in the network's units, after its forward pass; of N stacked networks one after another.
            batch: the same in pixels, (B, *in).
            noise: what `draw` returned for it.
            strength: of the penalty; in a stack a tensor, (N · B,).
            normalize: from pixels to the units of the network, or of each network of a stack.

        Returns:
            The penalty, (B,).
        """
        raise NotImplementedError

    def sample_loss(self, cross_entropy: Tensor, penalty: Tensor, strength: Factor) -> Tensor:
        """Compute each sample's loss, (B,), whose mean `passes` differentiate."""
        return cross_entropy + strength * penalty

    def objective(
        self, batch: Batch, noise: Noise, strength: Factor, normalize: Normalize
    ) -> Objective | None:
        """Return the loss as explicit passes, which compute its gradient by hand; None where nobody wrote them."""
        if type(self).passes is RegularizedModule.passes:
            return None

        def run(step: Step) -> Tensor:
            penalty = self.passes(step, batch, noise, strength, normalize)
            return require_penalty(type(self).__name__, penalty, step.cross_entropy.shape)

        return Objective(run, partial(self.sample_loss, strength=strength), self.trains_on_clean)

    def terms(self, batch: Batch, noise: Noise) -> Terms:
        """Compute the loss of a batch. The Jacobian is taken at the output of the network's normalisation."""
        return self.explicit_terms(batch, noise) or self.autograd_terms(batch, noise)

    def explicit_terms(self, batch: Batch, noise: Noise) -> Terms | None:
        """Compute the loss with its gradient by explicit passes; None where the engine, method or network has none."""
        if self.engine == "autograd" or (self.engine == "auto" and not self._has_explicit_steps):
            return None
        objective = self.objective(batch, noise, self.strength_value(), self.net.normalize)
        if objective is None:
            return None
        return explicit_loss(self.net.body, self.net.normalize(batch.x), batch.y, objective)

    @cached_property
    def _has_explicit_steps(self) -> bool:
        return has_explicit_steps(self.net.body)

    def autograd_terms(self, batch: Batch, noise: Noise) -> Terms:
        """Compute the loss from the penalty's own equation, to be differentiated automatically."""
        lin = linearize(self.net.body, self.net.normalize(batch.x), engine=self.engine)
        ce = cross_entropy(lin.logits, batch.y, reduction="none")
        penalty = require_penalty(type(self).__name__, self.penalty(lin, batch, noise), ce.shape)
        return Terms(ce.mean() + self.strength_value() * penalty.mean(), ce, penalty, lin.logits)

    def plain_terms(self, batch: Batch) -> Terms:
        """Compute the loss of plain training, the mean cross-entropy."""
        logits = self.net(batch.x)
        ce = cross_entropy(logits, batch.y, reduction="none")
        return Terms(ce.mean(), ce, ce.new_zeros(()), logits)

    def strength_in(self, epoch: int) -> float:  # noqa: ARG002  # constant for most methods
        """Return the strength of the penalty in an epoch, counted from 0; 0 for a method without one."""
        return getattr(self, self.strength) if self.strength else 0.0

    def strength_value(self) -> float:
        """Return the strength of the penalty in the present epoch."""
        return self.strength_in(self.current_epoch)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Compute the loss of one training batch, or of this process's part of it, and add it to the epoch's sums."""
        own, number = self.share.batch(batch), self.batch_number(batch_idx)
        with self._dropout_stream(number):
            if self.strength_value() == 0:
                terms = self.plain_terms(own)
            else:
                noise = self._ahead.of(batch.x, self.current_epoch, number)
                terms = self.terms(own, self.share.noise(noise, self.sample_dim))
        if self.share.count(len(batch.y)):
            self.sums.add(terms, own.y)
        return self.share.weighted(terms.loss, len(batch.y))

    def forward(self, x: Tensor) -> Tensor:
        """Compute the logits of images in [0, 1], (B, C, H, W) -> (B, n_classes)."""
        return self.net(x)

    def on_train_epoch_start(self) -> None:
        """Start the epoch's sums, unless it goes on, and set its learning rate."""
        if self.batch_number(0) == 0:
            self.sums = Sums(device=self.device)
        else:  # they were read before the network was moved to where it is trained
            self.sums.move_to(self.device)
        for group in self.trainer.optimizers[0].param_groups:
            group["lr"] = self.recipe.step_size(self.current_epoch)

    def on_train_epoch_end(self) -> None:
        """Log the epoch's means over its training samples, and what its validation counted."""
        (means,) = self.sums.means()
        counts = self.val_sums.counts() if self.val_sums else {}
        self.log_dict({f"train_{name}": value for name, value in means.items()})
        if counts:
            counts["accuracy"] = counts["n_correct"] / counts["n"]
        self.log_dict({f"val_{name}": value for name, value in counts.items()})

    @override
    def state(self, n: int) -> dict[str, Any]:
        optimizer = self.trainer.optimizers[0]
        state: dict[str, Any] = {"weights": parameters_to_vector(self._weights()).detach()}
        if self.recipe.optimizer:
            state["optimizer"] = copy.deepcopy(optimizer.state_dict())
        else:
            velocity = [
                optimizer.state[p].get("momentum_buffer", torch.zeros_like(p)) for p in self._weights()
            ]
            state["velocity"] = parameters_to_vector(velocity).detach()
        return state | {f"buffer.{name}": b.clone() for name, b in self.net.body.named_buffers()}

    @override
    def load_state(self, n: int, state: dict[str, Any]) -> None:
        with torch.no_grad():
            for p, values in parts(state["weights"], self._weights()):
                p.copy_(values)
            for name, buffer in self.net.body.named_buffers():
                buffer.copy_(state[f"buffer.{name}"])
        self._optimizer_state = state["optimizer" if self.recipe.optimizer else "velocity"]

    def _weights(self) -> list[nn.Parameter]:
        return list(self.net.body.parameters())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Make the recipe's optimiser; its learning rate is set at the start of each epoch."""
        optimizer = self.recipe.make_optimizer(self.net)
        state, self._optimizer_state = self._optimizer_state, None
        if isinstance(state, Tensor):
            for p, velocity in parts(state, self._weights()):
                optimizer.state[p]["momentum_buffer"] = velocity
        elif state is not None:
            optimizer.load_state_dict(state)
        return optimizer

    @contextmanager
    def _dropout_stream(self, batch_idx: int) -> Iterator[None]:
        # PyTorch's dropout draws from the global generator alone: give it this step's own state and put it back.
        if not self.has_dropout:
            yield
            return
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices):
            own = (self.share.rank,) if self.share.rank else ()  # each process masks its own rows
            torch.manual_seed(stream_seed(self.seed, "dropout", self.current_epoch, batch_idx, *own))
            yield
