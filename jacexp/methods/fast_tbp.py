"""Fast tangent back-propagation."""

from typing import Literal, Unpack

import torch
from torch import Tensor
from typing_extensions import override

from jacexp.data import Batch
from jacexp.jacobian import Linearization, Objective, invariance
from jacexp.jacobian.objectives import Strength
from jacexp.methods.base import Settings
from jacexp.methods.draws import Noise
from jacexp.methods.loss_gradient import loss_gradient
from jacexp.methods.tbp import TangentBP, directions
from jacexp.models import Network
from jacexp.models.network import Normalize


class FastTangentBP(TangentBP):
    """CE + beta · mean Σ_t |(p - y)ᵀ J t| over the five tangents t (Demyanov et al., Eq. 10, section 7.5).

    One backward pass gives ∇ₓL = Jᵀ(p - y), with p - y held constant as in Loss IBP, and each term is its product
    with a tangent. ``signed=True`` leaves the absolute value out, as Eq. 10 does: the loss can then fall without end.
    """

    def __init__(
        self,
        net: Network,
        *,
        beta: float,
        signed: bool = False,
        sigma: float = 0.9,
        tangent_unit: Literal["pixel", "half_side"] = "pixel",
        precompute: bool = True,
        **settings: Unpack[Settings],
    ) -> None:
        """Take the strength, whether the terms keep their signs, and what the tangents are; see `TangentBP`."""
        super().__init__(
            net, beta=beta, sigma=sigma, tangent_unit=tangent_unit, precompute=precompute, **settings
        )
        self.signed = signed

    @override
    def objective(self, batch: Batch, noise: Noise, strength: Strength, normalize: Normalize) -> Objective:
        """Give the explicit passes: one forward mode serves all tangents."""
        return invariance.FastTBP(
            strength=strength, tangents=directions(batch, normalize), signed=self.signed
        )

    def penalty(self, lin: Linearization, batch: Batch, noise: Noise) -> Tensor:  # noqa: ARG002
        """Σ_t |∇ₓLᵀ t| of each sample, (B,), summed over the tangents."""
        gradient = loss_gradient(lin, batch.y)
        tangents = directions(batch, self.net.normalize).unbind(1)
        along = torch.stack([(gradient * t).flatten(1).sum(dim=1) for t in tangents])
        return (along if self.signed else along.abs()).sum(dim=0)
