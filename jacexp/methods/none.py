"""Plain training."""

from jacexp.data import Batch
from jacexp.jacobian import Terms
from jacexp.methods.base import RegularizedModule
from jacexp.methods.draws import Noise


class Plain(RegularizedModule):
    """Mean cross-entropy alone: the row "None" of Johansson et al. and "Standard BP" of Demyanov et al."""

    def autograd_terms(self, batch: Batch, noise: Noise) -> Terms:  # noqa: ARG002  # nothing is drawn
        """Give the mean cross-entropy."""
        return self.plain_terms(batch)
