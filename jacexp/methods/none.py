"""Plain training."""

from typing_extensions import override

from jacexp.data.spec import Batch
from jacexp.jacobian.terms import Terms
from jacexp.methods.base import RegularizedModule
from jacexp.methods.draws import Noise


class Plain(RegularizedModule):
    """Mean cross-entropy alone: the row "None" of Johansson et al. and "Standard BP" of Demyanov et al."""

    @override
    def autograd_terms(self, batch: Batch, noise: Noise) -> Terms:
        return self.plain_terms(batch)
