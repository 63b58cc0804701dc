"""Several runs trained as one: a stack of networks under Lightning's Trainer."""

from collections.abc import Sequence

import torch
from torch import Tensor

from jacexp.data import Batch
from jacexp.methods import Noise, RegularizedModule
from jacexp.methods.lightning import LeanLightningModule
from jacexp.methods.stack import StackedMethod
from jacexp.random import stream_seed
from jacexp.train.replay import Record, Replayed, Step


class Together(LeanLightningModule):
    """A step of every network of a stack: its gradient, and its own stochastic gradient descent.

    v_n <- m_n v_n + g_n, w_n <- w_n − α_n v_n, with each network's learning rate α_n and momentum m_n.
    """

    def __init__(
        self,
        modules: Sequence[RegularizedModule],
        *,
        epoch: int = 0,
        batches: int = 0,
        record: Record | None = None,
    ) -> None:
        """Stack networks that lie where they are trained.

        Args:
            modules: the methods, equal but for strength, recipe, seed and normalisation. Their networks are trained.
            epoch: the epoch to begin in, counted from 0.
            batches: how many batches of it are done.
            record: records steps, to replay them; None to take each one eagerly, as always where dropout draws.
        """
        super().__init__()
        self.automatic_optimization = False
        self.modules_alone = tuple(modules)  # not registered as parts: the stack holds their tensors
        self.method = StackedMethod(modules)
        self.weights = self.method.stack.weights
        self.velocity = torch.zeros_like(self.weights)
        self.momentum = self.weights.new_tensor([m.recipe.momentum for m in modules])[:, None]
        self.step_size = torch.zeros_like(self.momentum)
        self.alive = [True] * len(modules)
        self.first_epoch, self.first_batch = epoch, batches
        self.totals = torch.zeros(len(modules), 4, dtype=torch.float64, device=self.weights.device)
        self.samples = 0
        self.step: Step = self._step
        if record and not self.method.has_dropout:
            state = [self.weights, self.velocity, self.totals, *self.method.stack.body.buffers()]
            self.step = Replayed(self._step, state, record)

    def start_sums(self) -> None:
        """Start an epoch's sums over samples."""
        self.totals.zero_()
        self.samples = 0

    @property
    def epoch(self) -> int:
        """The epoch, counted from 0 over all that was interrupted."""
        return self.first_epoch + self.current_epoch

    def batch_number(self, batch_idx: int) -> int:
        """Give the number of a batch within its epoch."""
        return batch_idx + (self.first_batch if self.current_epoch == 0 else 0)

    def on_train_epoch_start(self) -> None:
        """Set each network's strength and learning rate; one that has diverged stands still."""
        strengths = [m.strength_in(self.epoch) for m in self.modules_alone]
        self.method.strengths.copy_(self.method.strengths.new_tensor(strengths))
        sizes = [m.recipe.step_size(self.epoch) for m in self.modules_alone]
        alive = zip(sizes, self.alive, strict=True)
        self.step_size.copy_(self.step_size.new_tensor([[size if lives else 0.0] for size, lives in alive]))

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """Take one step with each network."""
        number = self.batch_number(batch_idx)
        if self.method.has_dropout:
            seeds = [stream_seed(m.seed, "dropout", self.epoch, number) for m in self.modules_alone]
            self.method.stack.streams.seed(seeds)
        self.step(batch, self.method.draw(batch.x, self.epoch, number))
        self.samples += len(batch.y) // len(self.alive)

    def _step(self, batch: Batch, noise: Noise) -> None:
        terms, gradient = self.method.terms(batch, noise)
        self.velocity.mul_(self.momentum).add_(gradient)
        self.weights.addcmul_(self.velocity, self.step_size, value=-1)
        n = len(self.alive)
        size = len(batch.y) // n
        correct = (terms.logits.argmax(dim=1) == batch.y).view(n, -1).sum(1)
        penalty = terms.penalty.view(n, -1).mean(1)
        ce = terms.cross_entropy.double().view(n, -1).sum(1)
        self.totals += torch.stack([size * terms.loss.double(), ce, size * penalty.double(), correct], dim=1)

    def means(self) -> list[dict[str, float]]:
        """Give each network's means over the samples of the epoch so far."""
        names = ("loss", "cross_entropy", "penalty", "accuracy")
        return [dict(zip(names, row, strict=True)) for row in (self.totals / self.samples).tolist()]

    def end(self, n: int) -> None:
        """Let a network that has diverged stand still, at zero, where it is finite."""
        self.alive[n] = False
        self.weights[n] = self.velocity[n] = self.step_size[n] = 0

    def state(self, n: int) -> dict[str, Tensor]:
        """Give all tensors of one network's training, apart from those of the others."""
        return {name: t.clone() for name, t in self._tensors(n).items()}

    def load_state(self, n: int, state: dict[str, Tensor]) -> None:
        """Take them back."""
        for name, t in self._tensors(n).items():
            t.copy_(state[name])

    def _tensors(self, n: int) -> dict[str, Tensor]:
        own = {"weights": self.weights[n], "velocity": self.velocity[n], "totals": self.totals[n]}
        buffers = self.modules_alone[n].net.body.named_buffers()
        return own | {f"buffer.{name}": b for name, b in buffers}

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:  # noqa: ARG002
        """Leave the batch where it is: the whole set lies on the training device."""
        return batch

    def configure_optimizers(self) -> None:
        """The step is taken by hand."""
