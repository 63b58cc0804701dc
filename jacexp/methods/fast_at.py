"""Fast adversarial training."""

import torch
from torch.nn.functional import cross_entropy

from jacexp.data import Batch
from jacexp.jacobian import Terms, linearize
from jacexp.methods.at import AdversarialTraining, adversarial
from jacexp.methods.draws import Noise
from jacexp.methods.loss_gradient import loss_gradient, still_statistics


class FastAdversarialTraining(AdversarialTraining):
    """mean CE(x*) alone, x* = x + epsilon · sign(∇ₓL), x* held constant (Demyanov et al., Eq. 12).

    To first order its loss at epsilon/2 is that of adversarial training at epsilon. Batch norm's running statistics
    are moved by the images that are trained on, x*.
    """

    fast = True

    def autograd_terms(self, batch: Batch, noise: Noise) -> Terms:  # noqa: ARG002  # nothing is drawn
        """Give the loss; the penalty that is logged is CE(x*), (B,)."""
        with torch.no_grad(), still_statistics(self.net):
            lin = linearize(self.net.body, self.net.normalize(batch.x), engine=self.engine)
            clean = cross_entropy(lin.logits, batch.y, reduction="none")
            gradient = loss_gradient(lin, batch.y)
        logits = self.net(adversarial(batch.x, gradient, self.epsilon, self.clip))
        perturbed = cross_entropy(logits, batch.y, reduction="none")
        return Terms(perturbed.mean(), clean, perturbed, lin.logits)
