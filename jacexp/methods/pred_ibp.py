"""Prediction invariant backpropagation."""

from torch import Tensor
from typing_extensions import override

from jacexp.data.spec import Batch
from jacexp.jacobian.linearize import Linearization
from jacexp.jacobian.norms import per_sample_norm
from jacexp.jacobian.step import Factor, Passed, Step, scaled
from jacexp.methods.draws import Noise
from jacexp.methods.invariance import InvariantBackpropagation, Softmax, through_softmax
from jacexp.methods.loss_gradient import loss_gradient
from jacexp.models.network import Normalize


class PredictionIBP(InvariantBackpropagation):
    """CE + beta · mean ‖J d‖₁, d = ∇ₓL = Jᵀ(p - y) (Demyanov et al., Eq. 9).

    d is raw, neither its sign nor normalised, and held constant. J is that of the logits: the paper leaves the
    softmax's gradient out of the extra passes "for numerical stability reasons" (section 5); ``softmax="included"`` is
    ‖P J d‖₁, P = diag p − p pᵀ held constant.
    """

    softmax: Softmax = "omitted"

    @override
    def penalty(self, lin: Linearization, batch: Batch, noise: Noise) -> Tensor:
        """‖J d‖₁ of each sample, (B,), summed over the logits."""
        d = loss_gradient(lin, batch.y).detach()
        Jd = lin.jvp(d)
        if self.softmax == "included":
            Jd = through_softmax(lin.logits.softmax(dim=1), Jd)
        return per_sample_norm(Jd, ord=1)

    @override
    def passes(
        self, step: Step, batch: Batch, noise: Noise, strength: Factor, normalize: Normalize
    ) -> Tensor:
        """F(y), Bx(dy), F(d), Bx(s), Bw[y; d̃]ᵀ[dy; s]: ∂/∂W⟨s, J d⟩ with s = sign(J d), or P sign(P J d)."""
        lin, n = step.lin, len(step.y)
        adjoints: Passed = {}
        tangents: Passed = {}
        d = lin.backward(step.dy, loss=True, shared=True, seen=adjoints.__setitem__)
        Jd = lin.forward(d, tangents.__setitem__)
        s = Jd.sign()
        if self.softmax == "included":
            Jd = through_softmax(step.p, Jd)
            s = through_softmax(step.p, Jd.sign())
        s = scaled(s, strength)
        lin.adjoints(s, lambda i, s_i: step.add(i, [tangents.pop(i)], [adjoints.pop(i)[:n], s_i]))
        return per_sample_norm(Jd, 1)
