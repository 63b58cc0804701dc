"""A method and the network that it trains, as a LightningModule."""

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.utils import parameters_to_vector
from typing_extensions import override

from jacexp.data.spec import Batch
from jacexp.jacobian.terms import Terms
from jacexp.methods.draws import AHEAD, Ahead, Noise
from jacexp.methods.method import Method
from jacexp.methods.optim import Recipe
from jacexp.methods.sums import Sums
from jacexp.models.network import Network
from jacexp.random import make_generator, stream_seed
from jacexp.train.training import Training, parts


class RegularizedModule(Training):
    """The training of one network by a method: its draws, dropout masks and optimiser, and the sums of its epochs."""

    def __init__(
        self,
        net: Network,
        method: Method,
        *,
        recipe: Recipe | None = None,
        seed: int = 0,
        batch_size: int | None = None,
    ) -> None:
        """Wrap a network in the method.

        Args:
            net: the network, which maps images in [0, 1] to logits.
            method: its loss.
            recipe: the optimiser.
            seed: the seed of every draw of the training.
            batch_size: that of all batches but an epoch's last, which may be short; None where every batch is whole.
        """
        super().__init__()
        self.net = net
        self.method = method
        self.recipe = recipe or Recipe()
        self.seed = seed
        self.batch_size = batch_size
        self._optimizer_state: Tensor | dict[str, Any] | None = None
        self._ahead = Ahead(self.draw_ahead, sample_dim=method.sample_dim, batch_size=batch_size)
        self.has_dropout = any(isinstance(m, _DropoutNd) and m.p > 0 for m in net.modules())

    def draw(self, x: Tensor, n: int, generator: torch.Generator) -> Sequence[Noise]:
        """Draw for n batches of the shape of x, (B, *in)."""
        return self.method.draw_several(self.net, x, x.new_empty(len(x), self.net.n_classes), n, generator)

    def draw_ahead(self, x: Tensor, epoch: int, block: int) -> Sequence[Noise]:
        """Draw for the ``AHEAD`` batches of an epoch's block, each of the shape of x."""
        return self.draw(x, AHEAD, make_generator(self.seed, "noise", epoch, block, device=x.device))

    def terms(self, batch: Batch, noise: Noise) -> Terms:
        """Compute the loss of a batch in the present epoch."""
        return self.method.compute(self.net, batch, lambda _: noise, self.strength_value())

    def strength_in(self, epoch: int) -> float:
        """Return the strength of the penalty in an epoch, counted from 0; 0 for a method without one."""
        rate = self.recipe.factor(epoch) if self.method.follows_learning_rate else 1
        return self.method.strength_value * rate

    def strength_value(self) -> float:
        """Return the strength of the penalty in the present epoch."""
        return self.strength_in(self.current_epoch)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Compute the loss of one training batch, or of this process's part of it, and add it to the epoch's sums."""
        own, number = self.share.batch(batch), self.batch_number(batch_idx)

        def draw(_: Tensor) -> Noise:
            noise = self._ahead.of(batch.x, self.current_epoch, number)
            return self.share.noise(noise, self.method.sample_dim)

        with self._dropout_stream(number):
            terms = self.method.compute(self.net, own, draw, self.strength_value())
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
