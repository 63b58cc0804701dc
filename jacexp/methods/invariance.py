"""What the methods of Demyanov et al. with a penalty share."""

from typing import Annotated, Literal

from torch import Tensor
from typing_extensions import override

from jacexp.methods.hyperparameters import AddedLater, Strength
from jacexp.methods.method import Method

Softmax = Annotated[Literal["omitted", "included"], AddedLater("omitted")]
"""Whether the extra passes go through the softmax's derivative P = diag p − p pᵀ, held constant: ‖P J v‖₁ or ‖J v‖₁."""


class InvariantBackpropagation(Method):
    """CE + beta · mean penalty, where beta falls as the learning rate does unless ``beta_schedule="constant"``.

    The text is silent on it; each of the authors' scripts multiplies beta by the learning rate's own factor.
    """

    beta: Strength
    beta_schedule: Annotated[Literal["constant", "learning_rate"], AddedLater("constant")] = "learning_rate"

    @property
    @override
    def follows_learning_rate(self) -> bool:
        return self.beta_schedule == "learning_rate"


def through_softmax(p: Tensor, Jv: Tensor) -> Tensor:
    """Compute P J v = p ⊙ (J v − ⟨p, J v⟩), P = diag p − p pᵀ = Pᵀ, for k vectors a sample, (k · B, C).

    Args:
        p: softmax(z), (B, C), held constant.
        Jv: the vectors, (k · B, C).

    Returns:
        The derivatives of the probabilities, (k · B, C).
    """
    p = p.detach().to(Jv.dtype).repeat(len(Jv) // len(p), 1)
    return p * (Jv - (p * Jv).sum(dim=1, keepdim=True))
