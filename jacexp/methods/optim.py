"""The optimiser of a training and its learning rate: the two papers' stochastic gradient descent, or another."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from jacexp.errors import ConfigError
from jacexp.methods.optimizers import OptimizerChoice, SchedulerChoice

SCHEDULES = ("constant", "exponential", "cosine", "step")
"""The schedules by name."""


@dataclass(frozen=True)
class Recipe:
    """SGD with momentum and a learning rate that changes once an epoch, or another optimiser with that rate.

    With ``momentum_form="accumulate"`` (PyTorch's): v <- m v + g, w <- w - α v. With ``"average"`` (the toolbox that
    Demyanov et al. cite): v <- m v + (1 - m) g, w <- w - α v, which is the same with learning rate (1 - m) α, so the
    two differ by a factor of ten at m = 0.9.
    """

    lr: float = 0.01
    """α, the learning rate of the first epoch; with warm-up that of the first epoch after it."""
    momentum: float = 0.8
    """m, in [0, 1)."""
    momentum_form: Literal["accumulate", "average"] = "accumulate"
    schedule: Literal["constant", "exponential", "cosine", "step"] = "constant"
    """α, or α γ^epoch, or α (1 + cos(π epoch/epochs))/2, or α γ^⌊epoch/step_epochs⌋, in this order of the names."""
    gamma: float = 0.98
    """γ of the exponential and the step schedule, in (0, 1]."""
    epochs: int = 50
    """The length of the training, which the cosine schedule needs."""
    step_epochs: int = 10
    """Between two drops of the step schedule."""
    warmup_epochs: int = 0
    """W epochs before the schedule begins, in which the rate grows by α (epoch + 1)/(W + 1)."""
    optimizer: OptimizerChoice | None = None
    """An optimiser in the place of SGD, which then reads neither the momentum nor its form."""
    scheduler: SchedulerChoice | None = None
    """A schedule in the place of ``schedule``."""

    def __post_init__(self) -> None:
        """Refuse values that cannot train.

        Raises:
            ConfigError: naming the value and what is allowed.
        """
        allowed = [
            (self.lr > 0, f"lr={self.lr}: the learning rate must be positive"),
            (0 <= self.momentum < 1, f"momentum={self.momentum}: choose a value in [0, 1)"),
            (0 < self.gamma <= 1, f"gamma={self.gamma}: choose a value in (0, 1]"),
            (self.epochs >= 1, f"epochs={self.epochs}: train for at least one epoch"),
            (self.step_epochs >= 1, f"step_epochs={self.step_epochs}: choose at least one epoch"),
            (
                0 <= self.warmup_epochs < self.epochs,
                f"warmup_epochs={self.warmup_epochs}: choose fewer than the {self.epochs} epochs, or 0",
            ),
            (
                self.momentum_form in ("accumulate", "average"),
                f"momentum_form={self.momentum_form!r} is unknown",
            ),
            (self.schedule in SCHEDULES, f"schedule={self.schedule!r} is unknown"),
        ]
        for holds, message in allowed:
            if not holds:
                raise ConfigError(message)
        if self.scheduler:
            self.scheduler.factors(self.lr, self.epochs - self.warmup_epochs)  # refuses what fails

    def make_optimizer(self, net: nn.Module) -> torch.optim.Optimizer:
        """Make the optimiser of a network's parameters."""
        if self.optimizer:
            return self.optimizer.make(net.parameters(), self.step_size(0))
        # fused: one call for all parameters, a tenth of a small network's step
        return torch.optim.SGD(net.parameters(), lr=self.step_size(0), momentum=self.momentum, fused=True)

    def try_out(self, net: nn.Module) -> None:
        """Try a step with a copy of a network's weights, where the optimiser is not the papers'.

        Raises:
            ConfigError: if it cannot train them.
        """
        if self.optimizer:
            self.optimizer.try_out(net)

    def factor(self, epoch: int) -> float:
        """Compute what the schedule multiplies α by in an epoch, counted from 0.

        A function of the epoch alone, so that a resumed run has no schedule to restore.

        Returns:
            The factor, 1 in the first epoch but for warm-up.
        """
        if epoch < self.warmup_epochs:
            return (epoch + 1) / (self.warmup_epochs + 1)
        epoch, epochs = epoch - self.warmup_epochs, self.epochs - self.warmup_epochs
        if self.scheduler:
            return self.scheduler.factors(self.lr, epochs)[epoch]
        factors = {
            "constant": 1.0,
            "exponential": self.gamma**epoch,
            "cosine": (1 + math.cos(math.pi * epoch / epochs)) / 2,
            "step": self.gamma ** (epoch // self.step_epochs),
        }
        return factors[self.schedule]

    def lr_at(self, epoch: int) -> float:
        """Compute the learning rate α of an epoch, counted from 0."""
        return self.lr * self.factor(epoch)

    def step_size(self, epoch: int) -> float:
        """Compute what PyTorch's optimiser calls lr in an epoch: its SGD's momentum accumulates."""
        is_average = self.optimizer is None and self.momentum_form == "average"
        return self.lr_at(epoch) * (1 - self.momentum if is_average else 1)
