"""L2 regularisation, the weight decay of Krogh & Hertz."""

from typing import Literal

import torch
from torch import Tensor, nn
from typing_extensions import override

from jacexp.methods.draws import Noise
from jacexp.methods.hyperparameters import Strength
from jacexp.methods.weights import WeightPenalty, weights_of


class L2(WeightPenalty):
    """CE + lam · Σ‖W‖² over all weights W, not biases and not batch norm's scales (Johansson et al., section 4).

    ``form="sum_squares"`` is that sum; ``"weight_decay"`` is half of it, whose gradient is lam · W, the term that an
    optimiser's weight decay adds.
    """

    lam: Strength
    form: Literal["sum_squares", "weight_decay"] = "sum_squares"

    @override
    def weight_penalty(self, net: nn.Module, noise: Noise) -> Tensor:
        """Σ‖W‖² or half of it, () summed over all weights."""
        total = torch.stack([w.square().sum() for w in weights_of(net)]).sum()
        return total if self.form == "sum_squares" else total / 2
