"""What every method shares: the loss, mean cross-entropy + strength x mean penalty, as a LightningModule."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.nn.modules.dropout import _DropoutNd

from jacexp.data import Batch, Tangents
from jacexp.jacobian import (
    Engine,
    Factor,
    Linearization,
    Objective,
    Step,
    Terms,
    explicit_loss,
    has_explicit_steps,
    linearize,
)
from jacexp.jacobian.shapes import require_penalty
from jacexp.methods.draws import AHEAD, Ahead, Noise
from jacexp.methods.hyperparameters import Declared
from jacexp.methods.lightning import LeanLightningModule
from jacexp.methods.optim import Recipe
from jacexp.methods.share import Share
from jacexp.models import Network
from jacexp.models.network import Normalize
from jacexp.random import make_generator, stream_seed


class RegularizedModule(LeanLightningModule, Declared):
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
        """Put a method around a network.

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
        self.sums = Sums()
        self.share = Share()
        self._ahead = Ahead(self.draw_ahead, sample_dim=self.sample_dim, batch_size=self.batch_size)
        self.has_dropout = any(isinstance(m, _DropoutNd) and m.p > 0 for m in net.modules())

    def tangents(self, in_shape: tuple[int, int, int], device: torch.device) -> Tangents | None:  # noqa: ARG002
        """Make what computes the tangent vectors that the batches must bring along; None for most methods."""
        return None

    def draw(self, x: Tensor, generator: torch.Generator) -> Noise:  # noqa: ARG002  # most methods draw nothing
        """Draw what the penalty of one batch x (B, *in) needs; apart from it, the penalty is a pure function."""
        return {}

    def draw_ahead(self, x: Tensor, epoch: int, block: int) -> Sequence[Noise]:
        """Draw for the `AHEAD` batches of an epoch's block, each of the shape of x."""
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
        """Run the penalty's explicit passes, which hand the gradients to ``step``; see `jacexp.jacobian.step`.

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
        """Give the loss of one training batch, or of this process's part of it, and add it to the epoch's sums."""
        own = self.share.batch(batch)
        with self._dropout_stream(batch_idx):
            if self.strength_value() == 0:
                terms = self.plain_terms(own)
            else:
                noise = self._ahead.of(batch.x, self.current_epoch, batch_idx)
                terms = self.terms(own, self.share.noise(noise, self.sample_dim))
        if self.share.count(len(batch.y)):
            self.sums.add(terms, own.y)
        return self.share.weighted(terms.loss, len(batch.y))

    def forward(self, x: Tensor) -> Tensor:
        """Give the logits of images in [0, 1], (B, C, H, W) -> (B, n_classes)."""
        return self.net(x)

    def on_train_epoch_start(self) -> None:
        """Start the epoch's sums and set its learning rate."""
        self.sums = Sums()
        for group in self.trainer.optimizers[0].param_groups:
            group["lr"] = self.recipe.step_size(self.current_epoch)

    def on_train_epoch_end(self) -> None:
        """Log the epoch's means over its training samples."""
        means = self.sums.means()
        self.log_dict({f"train_{name}": value for name, value in means.items()})

    def on_validation_epoch_start(self) -> None:
        """Start the validation sums."""
        self.share.copy_buffers(self.net)
        self.val_sums = Sums()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:  # noqa: ARG002  # Lightning's signature
        """Add one validation batch to the sums."""
        self.val_sums.add(self.plain_terms(batch), batch.y)

    def on_validation_epoch_end(self) -> None:
        """Log the counts and the mean loss of the validation images."""
        self.val_sums = self.val_sums.joined(self.share, self.device)
        counts = self.val_sums.counts()
        self.log_dict({f"val_{name}": value for name, value in counts.items()})

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:  # noqa: ARG002
        """Leave the batch where it is: the whole set lies on the training device."""
        return batch

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Make the recipe's optimiser; its learning rate is set at the start of each epoch."""
        return self.recipe.optimizer(self.net)

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


class Sums:
    """Running sums over samples, added up on the device, and only now and then: a small network's step is short.

    Batches are added up in fixed groups, whenever the sums are looked at or stored, for the order of additions
    decides the last digits.
    """

    FLUSH = 50
    """Batches that wait to be added up together."""

    def __init__(self) -> None:
        """Start at zero samples."""
        self.n = 0
        self._waiting: list[tuple[Terms, Tensor]] = []
        self._total: Tensor | None = None

    def add(self, terms: Terms, y: Tensor) -> None:
        """Add a batch: loss, cross-entropy, penalty and the number of correct answers."""
        self.n += len(y)
        self._waiting.append((Terms(*(t.detach() for t in terms)), y))
        if len(self._waiting) >= self.FLUSH:
            self._total, self._waiting = self._added_up(), []

    def _added_up(self) -> Tensor | None:
        """Give the sums of loss, cross-entropy, penalty and correct answers, (4,) float64; None without a sample."""
        if not self._waiting:
            return self._total
        terms, ys = zip(*self._waiting, strict=True)
        sizes = torch.tensor([len(y) for y in ys], device=ys[0].device).double()
        losses = torch.stack([t.loss for t in terms]).double()
        penalties = torch.stack([t.penalty.mean() for t in terms]).double()
        correct = torch.cat([t.logits for t in terms]).argmax(dim=1) == torch.cat(ys)
        ce = torch.cat([t.cross_entropy for t in terms]).double().sum()
        total = torch.stack([losses @ sizes, ce, penalties @ sizes, correct.sum().double()])
        return total if self._total is None else self._total + total

    def means(self) -> dict[str, float]:
        """Give the means over the samples so far: loss, cross-entropy, penalty and accuracy."""
        total = self._added_up()
        if total is None:
            return {}
        loss, ce, penalty, accuracy = (total / self.n).tolist()
        return {"loss": loss, "cross_entropy": ce, "penalty": penalty, "accuracy": accuracy}

    def counts(self) -> dict[str, float]:
        """Give the number of samples and of correct answers, and the mean cross-entropy."""
        total = self._added_up()
        if total is None:
            return {}
        _, ce, _, correct = total.tolist()
        return {"n": self.n, "n_correct": int(correct), "loss": ce / self.n}

    def joined(self, share: Share, device: torch.device) -> "Sums":
        """Give the sums over the samples of all processes, which must all ask for them."""
        if share.world_size == 1:
            return self
        total = self._added_up()
        own = torch.zeros(4, dtype=torch.float64, device=device) if total is None else total
        n, total = share.total(torch.cat([own.new_tensor([self.n]), own])).split([1, 4])
        whole = Sums()
        whole.n, whole._total = int(n), total
        return whole

    def state_dict(self) -> dict[str, Any]:
        """Give all there is, batches that wait included, so that going on from it gives the same to the last bit."""
        waiting = [[t.cpu() for t in (*terms, y)] for terms, y in self._waiting]
        return {"n": self.n, "total": None if self._total is None else self._total.cpu(), "waiting": waiting}

    def load_state_dict(self, state: Mapping[str, Any], device: torch.device | str) -> None:
        """Go on from a state too, on the device that the training is on; that of a process that is no more, say."""
        self.n += state["n"]
        if state["total"] is not None:
            total = state["total"].to(device)
            self._total = total if self._total is None else self._total + total
        batches = [[t.to(device) for t in batch] for batch in state["waiting"]]
        self._waiting += [(Terms(*terms), y) for *terms, y in batches]
