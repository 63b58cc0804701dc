"""The training of a stack of networks under Lightning's Trainer."""

from collections.abc import Sequence

import torch
from torch import Tensor
from typing_extensions import override

from jacexp.data.spec import Batch
from jacexp.methods.base import RegularizedModule
from jacexp.methods.draws import Noise
from jacexp.methods.stack import StackedMethod
from jacexp.methods.training import Training
from jacexp.random import stream_seed
from jacexp.train.replay import Record, Replayed, Step


class StackTraining(Training):
    """A step of every network of a stack: its gradient, and its own stochastic gradient descent.

    v_n <- m_n v_n + g_n, w_n <- w_n − α_n v_n, with each network's learning rate α_n and momentum m_n.
    """

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
        self.velocity = torch.zeros_like(self.weights)
        self.momentum = self.weights.new_tensor([m.recipe.momentum for m in modules])[:, None]
        self.step_size = torch.zeros_like(self.momentum)
        self.sums.total = self.sums.total.to(self.weights.device)
        self.step: Step = self._step
        if record and not self.method.has_dropout:
            state = [self.weights, self.velocity, self.sums.total, *self.method.stack.body.buffers()]
            self.step = Replayed(self._step, state, record)

    def on_train_epoch_start(self) -> None:
        """Start the sums, unless the epoch goes on, and set strengths and rates; a diverged network stands still."""
        if self.batch_number(0) == 0:
            self.sums.reset()
        strengths = [m.strength_in(self.current_epoch) for m in self.modules_alone]
        self.method.strengths.copy_(self.method.strengths.new_tensor(strengths))
        sizes = [m.recipe.step_size(self.current_epoch) for m in self.modules_alone]
        alive = zip(sizes, self.alive, strict=True)
        self.step_size.copy_(self.step_size.new_tensor([[size if lives else 0.0] for size, lives in alive]))

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """Train each network for one step."""
        epoch, number = self.current_epoch, self.batch_number(batch_idx)
        if self.method.has_dropout:
            seeds = [stream_seed(m.seed, "dropout", epoch, number) for m in self.modules_alone]
            self.method.stack.streams.seed(seeds)
        self.step(batch, self.method.draw(batch.x, epoch, number))
        self.sums.n += len(batch.y) // len(self.alive)

    def _step(self, batch: Batch, noise: Noise) -> None:
        terms, gradient = self.method.terms(batch, noise)
        self.velocity.mul_(self.momentum).add_(gradient)
        self.weights.addcmul_(self.velocity, self.step_size, value=-1)
        self.sums.add_stacked(terms, batch.y)

    @override
    def end(self, n: int) -> None:
        super().end(n)
        self.weights[n] = self.velocity[n] = self.step_size[n] = 0  # where it is finite

    @override
    def state(self, n: int) -> dict[str, Tensor]:
        return {name: t.clone() for name, t in self._tensors(n).items()}

    @override
    def load_state(self, n: int, state: dict[str, Tensor]) -> None:
        for name, t in self._tensors(n).items():
            t.copy_(state[name])

    def _tensors(self, n: int) -> dict[str, Tensor]:
        buffers = self.modules_alone[n].net.body.named_buffers()
        own = {"weights": self.weights[n], "velocity": self.velocity[n]}
        return own | {f"buffer.{name}": b for name, b in buffers}

    def configure_optimizers(self) -> None:
        """The step is taken by hand."""
