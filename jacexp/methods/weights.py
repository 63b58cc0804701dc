"""What the methods share whose penalty belongs to the weights and not to a sample."""

from torch import Tensor, nn

from jacexp.data.spec import Batch
from jacexp.jacobian.shapes import require_penalty
from jacexp.jacobian.terms import Terms
from jacexp.methods.base import RegularizedModule
from jacexp.methods.draws import Noise


class WeightPenalty(RegularizedModule):
    """Plain training with a penalty on the weights: loss = mean(CE) + strength · penalty, one number a network."""

    sample_dim = None

    def weight_penalty(self, noise: Noise) -> Tensor:
        """Compute the penalty, ()."""
        raise NotImplementedError

    def terms(self, batch: Batch, noise: Noise) -> Terms:
        """Compute the loss of a batch; no Jacobian is needed."""
        plain = self.plain_terms(batch)
        penalty = require_penalty(type(self).__name__, self.weight_penalty(noise), plain.loss.shape)
        return plain._replace(loss=plain.loss + self.strength_value() * penalty, penalty=penalty)


def weights_of(net: nn.Module) -> list[Tensor]:
    """List the weight matrices and kernels of a network: every parameter but biases and batch-norm scales."""
    return [p for p in net.parameters() if p.ndim >= 2]
