"""The papers' objectives with their passes: the loss of each method and the fewest passes that its gradient takes.

A pass is written as what it is told to do with each layer: ``add`` hands a layer's tangents and adjoints over as soon
as both are there, so that nothing is kept longer than it must be. Rows of several vectors go through one pass together,
[dy; u]; strengths multiply the vector at the start of a pass, where it is smallest.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from jacexp.jacobian.explicit import Objective, Step
from jacexp.jacobian.norms import per_sample_norm, unit
from jacexp.jacobian.rules import as_rows, per_sample

Strength = float | Tensor
"""A number, or a tensor (B,), one a sample: stacked networks differ in theirs."""

Passed = dict[int, Tensor]
"""What entered the steps with parameters, or came back to them, in one pass."""


@dataclass(frozen=True, kw_only=True)
class Penalized(Objective):
    """CE + strength · penalty."""

    strength: Strength

    def loss(self, cross_entropy: Tensor, penalty: Tensor) -> Tensor:
        """Give each sample's loss, (B,)."""
        return cross_entropy + self.strength * penalty


@dataclass(frozen=True)
class Plain(Objective):
    """CE alone: F, Bx, Bw."""

    def run(self, step: Step) -> Tensor:
        """The second pass of Demyanov et al., Algorithm 1."""
        step.lin.adjoints(step.dy, lambda i, dy: step.add(i, [], [dy]), loss=True)
        return torch.zeros_like(step.cross_entropy)

    def loss(self, cross_entropy: Tensor, penalty: Tensor) -> Tensor:  # noqa: ARG002  # there is none
        """Give each sample's loss, (B,)."""
        return cross_entropy


@dataclass(frozen=True, kw_only=True)
class Spectral(Penalized):
    """CE + lam · σ̂^power, σ̂ = ‖Jᵀû_N‖, û_n = unit(J v̂_{n-1}), v̂_n = unit(Jᵀû_n) (Johansson et al., Algorithm 1).

    σ̂ = ⟨û, J ŵ⟩ with ŵ = unit(Jᵀû), and with û constant its gradient is that of ⟨û, J ŵ⟩ with both constant: the
    adjoints of the pass that gave Jᵀû, and the tangents of one more forward mode.
    """

    v: Tensor
    """Where the power iteration starts, v̂_0 of any length, (B, *in)."""
    n_iter: int = 1
    power: Literal[1, 2] = 1
    detach: bool = True
    """Whether û is constant; otherwise each iteration is differentiated too, by two more passes."""

    def run(self, step: Step) -> Tensor:
        """F(y), N · F(v), (N − 1) · Bx(u), Bx[dy; u], F(w), Bw[y; w̃]ᵀ[dy; u]."""
        if not self.detach:
            return self._run_through(step)
        lin = step.lin
        u = unit(lin.forward(self.v.to(step.dy.dtype)))
        for _ in range(self.n_iter - 1):
            u = unit(lin.forward(unit(lin.backward(u))))
        adjoints: Passed = {}
        w = lin.backward(torch.cat([step.dy, u]), loss=True, seen=adjoints.__setitem__)
        sigma = per_sample_norm(w)
        lin.forward(self._slope(w, sigma), lambda i, v: step.add(i, [v], [adjoints.pop(i)]))
        return sigma**self.power

    def _slope(self, w: Tensor, sigma: Tensor) -> Tensor:
        """Give lam · ∂σ̂^power/∂w."""
        slope = self.strength * self.power * sigma ** (self.power - 1) / torch.where(sigma > 0, sigma, 1)
        return w * slope.view(-1, *[1] * (w.ndim - 1)).to(w.dtype)

    def _run_through(self, step: Step) -> Tensor:
        """Differentiate ⟨û_n, J ŵ_n⟩ in û_n, through unit to ⟨q_n, J v̂_{n-1}⟩, in v̂_{n-1}, and so on to n = 1."""
        lin, v = step.lin, self.v.to(step.dy.dtype)
        rounds = []
        for n in range(self.n_iter):
            v_in, u_out = Passed(), Passed()
            a = lin.forward(v, v_in.__setitem__)
            last = n == self.n_iter - 1
            rows = torch.cat([step.dy, unit(a)]) if last else unit(a)
            b = lin.backward(rows, loss=last, seen=u_out.__setitem__)
            rounds.append((a, v_in, b, u_out))
            v = unit(b)
        sigma = per_sample_norm(b)
        w = self._slope(b, sigma)
        tangents, adjoints = [], []
        while rounds:
            a, v_in, _, u_out = rounds.pop()
            w_in, q_out = Passed(), Passed()
            q = unit_backward(a, lin.forward(w, w_in.__setitem__))
            if rounds:
                w = unit_backward(rounds[-1][2], lin.backward(q, seen=q_out.__setitem__))
            else:
                lin.adjoints(q, q_out.__setitem__)
            tangents += [w_in, v_in]
            adjoints += [u_out, q_out]
        for number in step.inputs:
            step.add(number, [t[number] for t in tangents], [u[number] for u in adjoints])
        return sigma**self.power


def unit_backward(a: Tensor, g: Tensor) -> Tensor:
    """Differentiate â = a/‖a‖: the adjoint g of â becomes (g − â⟨â, g⟩)/‖a‖ for a, and 0 where a = 0."""
    direction, gradient = unit(a).flatten(1), g.flatten(1)
    length = per_sample_norm(a)[:, None]
    gradient = gradient - direction * (direction * gradient).sum(dim=1, keepdim=True)
    return torch.where(length > 0, gradient / torch.where(length > 0, length, 1), 0).view_as(a)


def along(strength: Strength, x: Tensor) -> Strength:
    """Shape a strength so that it broadcasts over x, (B, ...)."""
    return (
        strength.view(-1, *[1] * (x.ndim - 1)) if isinstance(strength, Tensor) and strength.ndim else strength
    )


def scaled(w: Tensor, strength: Strength) -> Tensor:
    """Multiply k vectors a sample, (k · B, ...), by a strength."""
    if not isinstance(strength, Tensor) or strength.ndim == 0:
        return w * strength
    return as_rows((per_sample(w, len(strength)) * along(strength, w)).to(w.dtype), w.ndim)


@dataclass(frozen=True, kw_only=True)
class Frobenius(Penalized):
    """CE + lam · (C/n) Σ_j ‖Jᵀu_j‖² (Johansson et al., Eq. 2).

    ‖Jᵀu‖² has the gradient of 2⟨u, J w⟩ with w = Jᵀu constant.
    """

    u: Tensor
    """The projections, (n, B, C); an orthonormal basis of R^C gives the exact norm."""

    def run(self, step: Step) -> Tensor:
        """F(y), Bx[dy; u_1 … u_n], F(w_1 … w_n), Bw[y; w̃]ᵀ[dy; u]."""
        n, _, n_classes = self.u.shape
        adjoints: Passed = {}
        rows = torch.cat([step.dy, self.u.flatten(0, 1).to(step.dy.dtype)])
        w = step.lin.backward(rows, loss=True, seen=adjoints.__setitem__)
        penalty = n_classes * per_sample_norm(w).square().view(n, -1).mean(dim=0)
        w = scaled(w, 2 * self.strength * n_classes / n)
        step.lin.forward(w, lambda i, v: step.add(i, [v], [adjoints.pop(i)]))
        return penalty
