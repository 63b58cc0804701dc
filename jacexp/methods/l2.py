"""L2 regularisation, the weight decay of Krogh & Hertz."""

from typing import Literal, Unpack

import torch
from torch import Tensor

from jacexp.methods.base import Settings, require
from jacexp.methods.draws import Noise
from jacexp.methods.weights import WeightPenalty, weights_of
from jacexp.models import Network


class L2(WeightPenalty):
    """CE + lam · Σ‖W‖² over all weights W, not biases and not batch norm's scales (Johansson et al., section 4).

    ``form="sum_squares"`` is that sum; ``"weight_decay"`` is half of it, whose gradient is lam · W, the term that an
    optimiser's weight decay adds.
    """

    strength = "lam"

    def __init__(
        self,
        net: Network,
        *,
        lam: float,
        form: Literal["sum_squares", "weight_decay"] = "sum_squares",
        **settings: Unpack[Settings],
    ) -> None:
        """Take the strength lam ≥ 0 and the form of the sum.

        Raises:
            ConfigError: for a negative strength or an unknown form.
        """
        super().__init__(net, **settings)
        require(lam >= 0, f"method.lam={lam}: the strength must not be negative")
        require(
            form in ("sum_squares", "weight_decay"),
            f"method.form={form!r}: choose sum_squares or weight_decay",
        )
        self.lam = lam
        self.form = form

    def weight_penalty(self, noise: Noise) -> Tensor:  # noqa: ARG002  # nothing is drawn
        """Σ‖W‖² or half of it, () summed over all weights."""
        total = torch.stack([w.square().sum() for w in weights_of(self.net)]).sum()
        return total if self.form == "sum_squares" else total / 2
