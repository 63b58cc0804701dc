"""Fast tangent back-propagation."""

import torch
from torch import Tensor
from typing_extensions import override

from jacexp.data.spec import Batch
from jacexp.jacobian.linearize import Linearization
from jacexp.jacobian.step import Factor, Step
from jacexp.methods.draws import Noise
from jacexp.methods.loss_gradient import loss_gradient, passes_of_gradient
from jacexp.methods.tbp import OfTangents, directions
from jacexp.models.network import Normalize


class FastTangentBP(OfTangents):
    """CE + beta · mean Σ_t |(p - y)ᵀ J t| over the five tangents t (Demyanov et al., Eq. 10, section 7.5).

    One backward pass gives ∇ₓL = Jᵀ(p - y), with p - y held constant as in Loss IBP, and each term is its product
    with a tangent. ``signed=True`` leaves the absolute value out, as Eq. 10 does: the loss can then fall without end.
    """

    signed: bool = False

    @override
    def penalty(self, lin: Linearization, batch: Batch, noise: Noise) -> Tensor:
        """Σ_t |∇ₓLᵀ t| of each sample, (B,), summed over the tangents."""
        gradient = loss_gradient(lin, batch.y)
        tangents = directions(batch).unbind(1)
        along = torch.stack([(gradient * t).flatten(1).sum(dim=1) for t in tangents])
        return (along if self.signed else along.abs()).sum(dim=0)

    @override
    def passes(
        self, step: Step, batch: Batch, noise: Noise, strength: Factor, normalize: Normalize
    ) -> Tensor:
        """Those of Loss IBP with w = Σ_t sign(g · t) t: the forward mode is linear, so one pass serves all tangents."""
        t = directions(batch).flatten(2)

        def slopes(g: Tensor) -> tuple[Tensor, Tensor]:
            along = torch.einsum("bti,bi->bt", t.to(g.dtype), g.flatten(1))
            signs = torch.ones_like(along) if self.signed else along.sign()
            w = torch.einsum("bti,bt->bi", t.to(g.dtype), signs).view_as(g)
            return (along * signs).sum(dim=1), w

        return passes_of_gradient(step, strength, slopes)
