"""Adversarial training."""

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from typing_extensions import override

from jacexp.data.spec import Batch
from jacexp.jacobian.linearize import linearize
from jacexp.jacobian.step import Factor, Passed, Step, along
from jacexp.jacobian.terms import Terms
from jacexp.methods.draws import Draw, Noise
from jacexp.methods.hyperparameters import Strength
from jacexp.methods.loss_gradient import loss_gradient, still_statistics
from jacexp.methods.method import Method
from jacexp.models.network import Network, Normalize


class AdversarialTraining(Method):
    """½ (mean CE(x) + mean CE(x*)), x* = x + epsilon · sign(∇ₓL), x* held constant (Demyanov et al., Eqs. 4 and 5).

    epsilon is in [0, 1] pixel units and x* is not clipped to them; ``clip=True`` does so. The label stays. Batch
    norm normalises x* by its own statistics, and its running statistics are moved by the clean images alone. Dropout
    draws a mask for each. The penalty that is logged is CE(x*), (B,).
    """

    epsilon: Strength
    clip: bool = False

    @override
    def autograd_terms(self, net: Network, batch: Batch, draw: Draw, strength: float) -> Terms:
        lin = linearize(net.body, net.normalize(batch.x), engine=self.engine)
        clean = cross_entropy(lin.logits, batch.y, reduction="none")
        with torch.no_grad():
            gradient = loss_gradient(lin, batch.y)
        with still_statistics(net):
            logits = net(adversarial(batch.x, gradient, strength, self.clip))
        perturbed = cross_entropy(logits, batch.y, reduction="none")
        return Terms((clean.mean() + perturbed.mean()) / 2, clean, perturbed, lin.logits)

    @override
    def passes(
        self, step: Step, batch: Batch, noise: Noise, strength: Factor, normalize: Normalize
    ) -> Tensor:
        """F(x), Bx(dy), F(x*), Bx(dy*), Bw[y; y*]ᵀ[dy; dy*]."""
        n, adjoints = len(step.y), Passed()
        g = step.lin.backward(step.dy / 2, loss=True, shared=True, seen=adjoints.__setitem__)
        star = step.again(self.moved(step.lin.x, g, batch, strength, normalize), move_statistics=False)
        star.lin.adjoints(
            star.dy / 2, lambda i, dy: step.add_with(star, i, adjoints.pop(i)[:n], dy), loss=True
        )
        return star.cross_entropy

    @override
    def sample_loss(self, cross_entropy: Tensor, penalty: Tensor, strength: Factor) -> Tensor:
        return (cross_entropy + penalty) / 2

    def moved(self, x: Tensor, g: Tensor, batch: Batch, epsilon: Factor, normalize: Normalize) -> Tensor:
        """Compute x* in the network's units, from x and ∇ₓL in them, (B, *in) each."""
        one = torch.ones_like(batch.x)
        moved = x + normalize.direction(one * along(epsilon, one)) * g.sign()
        if self.clip:
            moved = moved.maximum(normalize(0 * one)).minimum(normalize(one))
        return moved.to(g.dtype)


def adversarial(x: Tensor, gradient: Tensor, epsilon: float, clip: bool) -> Tensor:
    """Compute x* = x + epsilon · sign(∇ₓL) (Demyanov et al., Eq. 4).

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
