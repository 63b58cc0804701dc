"""Loss invariant backpropagation."""

from typing import Literal, Unpack

from torch import Tensor
from typing_extensions import override

from jacexp.data import Batch
from jacexp.jacobian import Linearization, invariance
from jacexp.jacobian.norms import per_sample_norm
from jacexp.jacobian.objectives import Strength
from jacexp.methods.base import RegularizedModule, Settings, require
from jacexp.methods.draws import Noise
from jacexp.methods.loss_gradient import residual
from jacexp.models import Network
from jacexp.models.network import Normalize


class LossIBP(RegularizedModule):
    """CE + beta · mean L̃(∇ₓL), L̃ = ‖·‖₁ (Demyanov et al., Eqs. 6-8, Algorithm 1); ``r=2`` is ½‖·‖₂².

    ∇ₓL = Jᵀ(p - y) is the gradient of each sample's own loss. As in Algorithm 1, p - y is held constant: the weights
    move as the third pass says, dw̃ = dỹᵀ·dy, and the biases get nothing. ``hessian=True`` is full double
    back-propagation, which also differentiates p - y.
    """

    strength = "beta"

    def __init__(
        self,
        net: Network,
        *,
        beta: float,
        r: Literal[1, 2] = 1,
        hessian: bool = False,
        **settings: Unpack[Settings],
    ) -> None:
        """Take the strength beta ≥ 0, the norm r, and whether p - y is differentiated too.

        Raises:
            ConfigError: for a negative strength or another norm.
        """
        super().__init__(net, **settings)
        require(beta >= 0, f"method.beta={beta}: the strength must not be negative")
        require(r in (1, 2), f"method.r={r}: choose 1 (the L1 norm) or 2 (half the squared L2 norm)")
        self.beta = beta
        self.r = r
        self.hessian = hessian

    @override
    def objective(
        self, batch: Batch, noise: Noise, strength: Strength, normalize: Normalize
    ) -> invariance.LossIBP:
        return invariance.LossIBP(strength=strength, r=self.r, hessian=self.hessian)

    def penalty(self, lin: Linearization, batch: Batch, noise: Noise) -> Tensor:  # noqa: ARG002
        """L̃(Jᵀ(p - y)) of each sample, (B,)."""
        dz = residual(lin.logits, batch.y)
        dx = lin.vjp(dz if self.hessian else dz.detach())
        return per_sample_norm(dx, ord=1) if self.r == 1 else per_sample_norm(dx).square() / 2
