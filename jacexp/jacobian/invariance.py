"""The objectives of Demyanov et al. with their passes; `objectives` says how they are written."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from jacexp.jacobian.explicit import Objective, Step
from jacexp.jacobian.norms import per_sample_norm
from jacexp.jacobian.objectives import Passed, Penalized, Strength, scaled


@dataclass(frozen=True, kw_only=True)
class OfGradient(Penalized):
    """CE + beta · R(g), g = Jᵀ(p − y) = ∇ₓL: with p − y constant the gradient of R is that of ⟨p − y, J w⟩, w = ∂R/∂g.

    The adjoints are those of the loss itself, so one product serves both: (y + ỹ)ᵀ dy (Demyanov et al., section 3.3).
    ``hessian`` lets p − y depend on the parameters too: ∂R/∂(p − y) = J w, which goes through the softmax's Jacobian
    and, with the loss's gradient, through the one backward pass.
    """

    hessian: bool = False

    def value_and_direction(self, g: Tensor) -> tuple[Tensor, Tensor]:
        """Give R of each sample, (B,), and w = ∂R/∂g, (B, *in)."""
        raise NotImplementedError

    def run(self, step: Step) -> Tensor:
        """F(y), Bx(dy), F(w), Bw(y + w̃)ᵀdy; with the Hessian F(y), Bx(dy), F(w), Bx(dy + δ), Bw[y; w̃]ᵀ[dy + δ; dy]."""
        lin = step.lin
        adjoints: Passed = {}
        g = lin.backward(step.dy, loss=not self.hessian, fork=True, seen=adjoints.__setitem__)
        penalty, w = self.value_and_direction(g)
        w = scaled(w, self.strength)
        if not self.hessian:
            lin.forward(w, lambda i, v: step.add(i, [v], [adjoints.pop(i)]))
            return penalty
        tangents: Passed = {}
        Jw = lin.forward(w, tangents.__setitem__)
        delta = step.p * (Jw - (step.p * Jw).sum(dim=1, keepdim=True))
        rows = (step.dy + delta).to(Jw.dtype)
        lin.adjoints(rows, lambda i, dy: step.add(i, [tangents.pop(i)], [dy, adjoints.pop(i)]), loss=True)
        return penalty


@dataclass(frozen=True, kw_only=True)
class LossIBP(OfGradient):
    """R = ‖g‖₁, or ½‖g‖₂² for r = 2 (Demyanov et al., Eqs. 6 and 7): w = sign(g), or g."""

    r: Literal[1, 2] = 1

    def value_and_direction(self, g: Tensor) -> tuple[Tensor, Tensor]:
        """Eq. 6."""
        if self.r == 1:
            return per_sample_norm(g, 1), g.sign()
        return per_sample_norm(g).square() / 2, g


@dataclass(frozen=True, kw_only=True)
class FastTBP(OfGradient):
    """R = Σ_t |g · t|; signed: Σ_t g · t (Demyanov et al., Eq. 10).

    w = Σ_t sign(g · t) t: the forward mode is linear, so one pass serves all tangents.
    """

    tangents: Tensor
    """(B, T, *in)."""
    signed: bool = False

    def value_and_direction(self, g: Tensor) -> tuple[Tensor, Tensor]:
        """Eq. 10."""
        t = self.tangents.flatten(2).to(g.dtype)
        slopes = torch.einsum("bti,bi->bt", t, g.flatten(1))
        signs = torch.ones_like(slopes) if self.signed else slopes.sign()
        w = torch.einsum("bti,bt->bi", t, signs).view_as(g)
        return (slopes * signs).sum(dim=1), w


@dataclass(frozen=True, kw_only=True)
class PredIBP(Penalized):
    """CE + beta · ‖J d‖₁, d = Jᵀ(p − y) constant (Demyanov et al., Eq. 9): ∂/∂W⟨s, J d⟩ with s = sign(J d)."""

    def run(self, step: Step) -> Tensor:
        """F(y), Bx(dy), F(d), Bx(s), Bw[y; d̃]ᵀ[dy; s]."""
        lin, n = step.lin, len(step.y)
        adjoints: Passed = {}
        tangents: Passed = {}
        d = lin.backward(step.dy, loss=True, fork=True, seen=adjoints.__setitem__)
        Jd = lin.forward(d, tangents.__setitem__)
        s = scaled(Jd.sign(), self.strength)
        lin.adjoints(s, lambda i, s_i: step.add(i, [tangents.pop(i)], [adjoints.pop(i)[:n], s_i]))
        return per_sample_norm(Jd, 1)


@dataclass(frozen=True, kw_only=True)
class TBP(Penalized):
    """CE + beta · Σ_t ‖J t‖₁ (Demyanov et al., Eq. 3, r = 1): ∂/∂W Σ_t ⟨s_t, J t⟩ with s_t = sign(J t)."""

    tangents: Tensor
    """(B, T, *in)."""

    def run(self, step: Step) -> Tensor:
        """F(y), F(t_1 … t_T), Bx[dy; s_1 … s_T], Bw[y; t̃]ᵀ[dy; s]; none of them reaches the input."""
        passed: Passed = {}
        t = self.tangents.transpose(0, 1).flatten(0, 1).to(step.dy.dtype)
        Jt = step.lin.forward(t, passed.__setitem__)
        rows = torch.cat([step.dy, scaled(Jt.sign(), self.strength)])
        step.lin.adjoints(rows, lambda i, u: step.add(i, [passed.pop(i)], [u]), loss=True)
        return per_sample_norm(Jt, 1).view(-1, len(step.y)).sum(dim=0)


@dataclass(frozen=True, kw_only=True)
class Adversarial(Objective):
    """½(CE(x) + CE(x*)) or CE(x*) alone, x* = x + epsilon · sign(∇ₓL) constant (Demyanov et al., Eqs. 4, 5 and 12).

    Its ``penalty`` is CE(x*). Train-mode batch norm normalises x* by its own statistics; the running ones move once,
    for x, or for x* where that is all that is trained on. Dropout draws a mask for each.
    """

    epsilon: Strength
    """In units of x: a number, or a tensor that broadcasts over x, such as epsilon / std."""
    fast: bool = False
    """Leave CE(x) out, and the gradients that only it needs."""
    bounds: tuple[Tensor, Tensor] | None = None
    """What x* is clipped to, in units of x: tensors that broadcast over it."""

    @property
    def clean(self) -> bool:  # type: ignore[override]  # read only
        """Whether x itself is trained on."""
        return not self.fast

    def run(self, step: Step) -> Tensor:
        """F(x), Bx(dy), F(x*), Bx(dy*), Bw[y; y*]ᵀ[dy; dy*]; fast: Bw y*ᵀdy* alone."""
        n, half = len(step.y), 1.0 if self.fast else 0.5
        adjoints: Passed = {}
        keep = None if self.fast else adjoints.__setitem__
        g = step.lin.backward(half * step.dy, loss=not self.fast, fork=True, seen=keep)
        x = step.lin.x + self.epsilon * g.sign()
        if self.bounds is not None:
            x = x.maximum(self.bounds[0]).minimum(self.bounds[1])
        star = step.again(x.to(g.dtype), move_statistics=self.fast)
        star.lin.adjoints(
            half * star.dy,
            lambda i, dy: step.add_with(star, i, None if self.fast else adjoints.pop(i)[:n], dy),
            loss=True,
        )
        return star.cross_entropy

    def loss(self, cross_entropy: Tensor, penalty: Tensor) -> Tensor:
        """Give each sample's loss, (B,)."""
        return penalty if self.fast else (cross_entropy + penalty) / 2
