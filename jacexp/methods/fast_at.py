"""Fast adversarial training."""

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from typing_extensions import override

from jacexp.data.spec import Batch
from jacexp.jacobian.linearize import linearize
from jacexp.jacobian.step import Factor, Step
from jacexp.jacobian.terms import Terms
from jacexp.methods.at import AdversarialTraining, adversarial
from jacexp.methods.draws import Draw, Noise
from jacexp.methods.loss_gradient import loss_gradient, still_statistics
from jacexp.models.network import Network, Normalize


class FastAdversarialTraining(AdversarialTraining):
    """mean CE(x*) alone, x* = x + epsilon · sign(∇ₓL), x* held constant (Demyanov et al., Eq. 12).

    To first order its loss at epsilon/2 is that of adversarial training at epsilon. Batch norm's running statistics
    are moved by the images that are trained on, x*. The penalty that is logged is CE(x*), (B,).
    """

    trains_on_clean = False

    @override
    def autograd_terms(self, net: Network, batch: Batch, draw: Draw, strength: float) -> Terms:
        with torch.no_grad(), still_statistics(net):
            lin = linearize(net.body, net.normalize(batch.x), engine=self.engine)
            clean = cross_entropy(lin.logits, batch.y, reduction="none")
            gradient = loss_gradient(lin, batch.y)
        logits = net(adversarial(batch.x, gradient, strength, self.clip))
        perturbed = cross_entropy(logits, batch.y, reduction="none")
        return Terms(perturbed.mean(), clean, perturbed, lin.logits)

    @override
    def passes(
        self, step: Step, batch: Batch, noise: Noise, strength: Factor, normalize: Normalize
    ) -> Tensor:
        """F(x), Bx(dy), F(x*), Bx(dy*), Bw y*ᵀdy*."""
        g = step.lin.backward(step.dy)
        star = step.again(self.moved(step.lin.x, g, batch, strength, normalize), move_statistics=True)
        star.lin.adjoints(star.dy, lambda i, dy: step.add_with(star, i, None, dy), loss=True)
        return star.cross_entropy

    @override
    def sample_loss(self, cross_entropy: Tensor, penalty: Tensor, strength: Factor) -> Tensor:
        return penalty
