"""What the methods share whose penalty belongs to the weights and not to a sample."""

from torch import Tensor, nn
from typing_extensions import override

from jacexp.data.spec import Batch
from jacexp.jacobian.shapes import require_penalty
from jacexp.jacobian.terms import Terms
from jacexp.methods.draws import Draw, Noise
from jacexp.methods.method import Method, plain_terms
from jacexp.models.network import Network


class WeightPenalty(Method):
    """Plain training with a penalty on the weights: loss = mean(CE) + strength · penalty, one number a network."""

    sample_dim = None

    def weight_penalty(self, net: nn.Module, noise: Noise) -> Tensor:
        """Compute the penalty of a network, ()."""
        raise NotImplementedError

    @override
    def autograd_terms(self, net: Network, batch: Batch, draw: Draw, strength: float) -> Terms:
        """Compute the loss of a batch; no Jacobian is needed."""
        plain = plain_terms(net, batch)
        penalty = self.weight_penalty(net, draw(plain.logits))
        penalty = require_penalty(type(self).__name__, penalty, plain.loss.shape)
        return plain._replace(loss=plain.loss + strength * penalty, penalty=penalty)


def weights_of(net: nn.Module) -> list[Tensor]:
    """List the weight matrices and kernels of a network: every parameter but biases and batch-norm scales."""
    return [p for p in net.parameters() if p.ndim >= 2]
