"""The eleven losses of both papers, for any training loop: ``loss = losses.spec(lam=0.01)(net, x, y)``.

Each is named and configured as on the command line; `jacexp.methods.Method` says what a loss is called with, and a
class of one's own that extends it is one more. ``beta`` is used as it is given: a schedule is the training loop's
business.
"""

from torch import Tensor, nn

from jacexp.methods.at import AdversarialTraining as at
from jacexp.methods.fast_at import FastAdversarialTraining as fast_at
from jacexp.methods.fast_tbp import FastTangentBP as fast_tbp
from jacexp.methods.frob import FrobeniusNorm as frob
from jacexp.methods.l2 import L2 as l2
from jacexp.methods.loss_ibp import LossIBP as loss_ibp
from jacexp.methods.method import Method
from jacexp.methods.none import Plain as none
from jacexp.methods.pred_ibp import PredictionIBP as pred_ibp
from jacexp.methods.spec import SpectralNorm as spec
from jacexp.methods.spec_bound import SpectralBound as spec_bound
from jacexp.methods.tbp import TangentBP as tbp

__all__ = [
    "WithLoss",
    "at",
    "fast_at",
    "fast_tbp",
    "frob",
    "l2",
    "loss_ibp",
    "none",
    "pred_ibp",
    "spec",
    "spec_bound",
    "tbp",
]


class WithLoss(nn.Module):
    """A network and its loss as one module, ``forward(x, y) -> loss``, as DistributedDataParallel needs it.

    Args:
        net: the network, as `jacexp.methods.Method.parts` takes it.
        criterion: the loss.
    """

    def __init__(self, net: nn.Module, criterion: Method) -> None:
        super().__init__()
        self.net, self.criterion = net, criterion

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Compute the loss of a batch x, (B, *in), of classes y, (B,): a scalar, the mean over samples."""
        return self.criterion(self.net, x, y)
