"""Loss invariant backpropagation."""

from typing import Literal

from torch import Tensor
from typing_extensions import override

from jacexp.data.spec import Batch
from jacexp.jacobian.linearize import Linearization
from jacexp.jacobian.norms import per_sample_norm
from jacexp.jacobian.step import Factor, Passed, Step, scaled
from jacexp.methods.draws import Noise
from jacexp.methods.invariance import InvariantBackpropagation
from jacexp.methods.loss_gradient import passes_of_gradient, residual
from jacexp.models.network import Normalize


class LossIBP(InvariantBackpropagation):
    """CE + beta · mean L̃(∇ₓL), L̃ = ‖·‖₁ (Demyanov et al., Eqs. 6-8, Algorithm 1); ``r=2`` is ½‖·‖₂².

    ∇ₓL = Jᵀ(p - y) is the gradient of each sample's own loss. As in Algorithm 1, p - y is held constant: the weights
    move as the third pass says, dw̃ = dỹᵀ·dy, and the biases get nothing. ``hessian=True`` is full double
    back-propagation, which also differentiates p - y.
    """

    r: Literal[1, 2] = 1
    hessian: bool = False

    @override
    def penalty(self, lin: Linearization, batch: Batch, noise: Noise) -> Tensor:
        """L̃(Jᵀ(p - y)) of each sample, (B,)."""
        dz = residual(lin.logits, batch.y)
        dx = lin.vjp(dz if self.hessian else dz.detach())
        return per_sample_norm(dx, ord=1) if self.r == 1 else per_sample_norm(dx).square() / 2

    @override
    def passes(
        self, step: Step, batch: Batch, noise: Noise, strength: Factor, normalize: Normalize
    ) -> Tensor:
        """The three passes of Algorithm 1; w = ∂L̃/∂g is sign(g), or g for r = 2."""
        if self.hessian:
            return self._double_passes(step, strength)
        return passes_of_gradient(step, strength, self._norm)

    def _norm(self, g: Tensor) -> tuple[Tensor, Tensor]:
        """Compute L̃ of each sample, (B,), and w = ∂L̃/∂g, (B, *in)."""
        if self.r == 1:
            return per_sample_norm(g, 1), g.sign()
        return per_sample_norm(g).square() / 2, g

    def _double_passes(self, step: Step, strength: Factor) -> Tensor:
        """F(y), Bx(dy), F(w), Bx(dy + δ), Bw[y; w̃]ᵀ[dy + δ; dy].

        ∂L̃/∂(p − y) = J w goes through the softmax's Jacobian, δ = (diag p − p pᵀ) J w, and, with the loss's gradient,
        through the one backward pass.

        Returns:
            The penalty, (B,).
        """
        lin = step.lin
        adjoints: Passed = {}
        tangents: Passed = {}
        g = lin.backward(step.dy, seen=adjoints.__setitem__)
        penalty, w = self._norm(g)
        Jw = lin.forward(scaled(w, strength), tangents.__setitem__)
        delta = step.p * (Jw - (step.p * Jw).sum(dim=1, keepdim=True))
        rows = (step.dy + delta).to(Jw.dtype)
        lin.adjoints(rows, lambda i, dy: step.add(i, [tangents.pop(i)], [dy, adjoints.pop(i)]), loss=True)
        return penalty
