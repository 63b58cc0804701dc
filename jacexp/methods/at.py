"""Adversarial training."""

from typing import ClassVar, Unpack

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from typing_extensions import override

from jacexp.data import Batch
from jacexp.jacobian import Terms, invariance, linearize
from jacexp.jacobian.objectives import Strength, along
from jacexp.methods.base import RegularizedModule, Settings, require
from jacexp.methods.draws import Noise
from jacexp.methods.loss_gradient import loss_gradient, still_statistics
from jacexp.models import Network
from jacexp.models.network import Normalize


class AdversarialTraining(RegularizedModule):
    """½ (mean CE(x) + mean CE(x*)), x* = x + epsilon · sign(∇ₓL), x* held constant (Demyanov et al., Eqs. 4 and 5).

    epsilon is in [0, 1] pixel units and x* is not clipped to them; ``clip=True`` does so. The label stays. Batch
    norm normalises x* by its own statistics, and its running statistics are moved by the clean images alone.
    """

    strength = "epsilon"
    fast: ClassVar[bool] = False

    def __init__(
        self, net: Network, *, epsilon: float, clip: bool = False, **settings: Unpack[Settings]
    ) -> None:
        """Take the size of the step, epsilon ≥ 0, and whether x* is clipped to [0, 1].

        Raises:
            ConfigError: for a negative step.
        """
        super().__init__(net, **settings)
        require(epsilon >= 0, f"method.epsilon={epsilon}: the step must not be negative")
        self.epsilon = epsilon
        self.clip = clip

    @override
    def objective(
        self, batch: Batch, noise: Noise, strength: Strength, normalize: Normalize
    ) -> invariance.Adversarial:
        """Give the explicit passes, which see x in the network's units."""
        one = torch.ones_like(batch.x)
        return invariance.Adversarial(
            epsilon=normalize.direction(one * along(strength, one)),
            fast=self.fast,
            bounds=(normalize(0 * one), normalize(one)) if self.clip else None,
        )

    def autograd_terms(self, batch: Batch, noise: Noise) -> Terms:  # noqa: ARG002  # nothing is drawn
        """Give the loss; the penalty that is logged is CE(x*), (B,)."""
        lin = linearize(self.net.body, self.net.normalize(batch.x), engine=self.engine)
        clean = cross_entropy(lin.logits, batch.y, reduction="none")
        with torch.no_grad():
            gradient = loss_gradient(lin, batch.y)
        with still_statistics(self.net):
            logits = self.net(adversarial(batch.x, gradient, self.epsilon, self.clip))
        perturbed = cross_entropy(logits, batch.y, reduction="none")
        return Terms((clean.mean() + perturbed.mean()) / 2, clean, perturbed, lin.logits)


def adversarial(x: Tensor, gradient: Tensor, epsilon: float, clip: bool) -> Tensor:
    """Give x* = x + epsilon · sign(∇ₓL) (Demyanov et al., Eq. 4).

    Args:
        x: images in pixel units, (B, *in).
        gradient: ∇ₓL, (B, *in), in pixel or in network units: normalisation leaves every sign as it is.
        epsilon: the step, in pixel units.
        clip: whether to clip to [0, 1].

    Returns:
        x*, (B, *in).
    """
    moved = x + epsilon * gradient.sign()
    return moved.clamp(0, 1) if clip else moved
