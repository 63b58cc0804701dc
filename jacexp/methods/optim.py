"""Stochastic gradient descent as the two papers run it."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from jacexp.errors import ConfigError


@dataclass(frozen=True)
class Recipe:
    """SGD with momentum and a learning rate that changes once an epoch.

    With ``momentum_form="accumulate"`` (PyTorch's): v <- m v + g, w <- w - α v. With ``"average"`` (the toolbox that
    Demyanov et al. cite): v <- m v + (1 - m) g, w <- w - α v, which is the same with learning rate (1 - m) α, so the
    two differ by a factor of ten at m = 0.9.
    """

    lr: float = 0.01
    """α, the learning rate of the first epoch."""
    momentum: float = 0.8
    """m, in [0, 1)."""
    momentum_form: Literal["accumulate", "average"] = "accumulate"
    schedule: Literal["constant", "exponential", "cosine"] = "constant"
    """constant: α. exponential: α γ^epoch. cosine: α (1 + cos(π epoch/epochs))/2."""
    gamma: float = 0.98
    """γ of the exponential schedule, in (0, 1]."""
    epochs: int = 50
    """The length of the training, which the cosine schedule needs."""

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
            (
                self.momentum_form in ("accumulate", "average"),
                f"momentum_form={self.momentum_form!r} is unknown",
            ),
            (
                self.schedule in ("constant", "exponential", "cosine"),
                f"schedule={self.schedule!r} is unknown",
            ),
        ]
        for holds, message in allowed:
            if not holds:
                raise ConfigError(message)

    def optimizer(self, net: nn.Module) -> torch.optim.SGD:
        """Make the optimiser of a network's parameters."""
        # fused: one call for all parameters, a tenth of a small network's step
        return torch.optim.SGD(net.parameters(), lr=self.step_size(0), momentum=self.momentum, fused=True)

    def factor(self, epoch: int) -> float:
        """Compute what the schedule multiplies α by in an epoch, counted from 0.

        A function of the epoch alone, so that a resumed run has no schedule to restore.

        Returns:
            The factor, 1 in the first epoch.
        """
        factors = {
            "constant": 1.0,
            "exponential": self.gamma**epoch,
            "cosine": (1 + math.cos(math.pi * epoch / self.epochs)) / 2,
        }
        return factors[self.schedule]

    def lr_at(self, epoch: int) -> float:
        """Compute the learning rate α of an epoch, counted from 0."""
        return self.lr * self.factor(epoch)

    def step_size(self, epoch: int) -> float:
        """Compute what PyTorch's SGD calls lr in an epoch: its momentum accumulates."""
        return self.lr_at(epoch) * (1 - self.momentum if self.momentum_form == "average" else 1)
