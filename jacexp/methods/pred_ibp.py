"""Prediction invariant backpropagation."""

from typing import Unpack

from torch import Tensor
from typing_extensions import override

from jacexp.data import Batch
from jacexp.jacobian import Linearization, invariance
from jacexp.jacobian.norms import per_sample_norm
from jacexp.jacobian.objectives import Strength
from jacexp.methods.base import RegularizedModule, Settings, require
from jacexp.methods.draws import Noise
from jacexp.methods.loss_gradient import loss_gradient
from jacexp.models import Network
from jacexp.models.network import Normalize


class PredictionIBP(RegularizedModule):
    """CE + beta · mean ‖J d‖₁, d = ∇ₓL = Jᵀ(p - y) (Demyanov et al., Eq. 9).

    d is raw, neither its sign nor normalised, and held constant. J is that of the logits: the paper leaves the
    softmax's gradient out of the extra passes "for numerical stability reasons" (section 5).
    """

    strength = "beta"

    def __init__(self, net: Network, *, beta: float, **settings: Unpack[Settings]) -> None:
        """Take the strength beta ≥ 0.

        Raises:
            ConfigError: for a negative strength.
        """
        super().__init__(net, **settings)
        require(beta >= 0, f"method.beta={beta}: the strength must not be negative")
        self.beta = beta

    @override
    def objective(
        self, batch: Batch, noise: Noise, strength: Strength, normalize: Normalize
    ) -> invariance.PredIBP:
        return invariance.PredIBP(strength=strength)

    def penalty(self, lin: Linearization, batch: Batch, noise: Noise) -> Tensor:  # noqa: ARG002
        """‖J d‖₁ of each sample, (B,), summed over the logits."""
        d = loss_gradient(lin, batch.y).detach()
        return per_sample_norm(lin.jvp(d), ord=1)
