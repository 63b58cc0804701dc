"""Exact spectral norm regularisation."""

from typing import Literal

import torch
from torch import Tensor
from typing_extensions import override

from jacexp.data.spec import Batch
from jacexp.jacobian.linearize import Linearization
from jacexp.jacobian.norms import per_sample_norm, power_iteration, standard_normal_like, unit
from jacexp.jacobian.step import Factor, Passed, Step
from jacexp.methods.draws import Noise
from jacexp.methods.hyperparameters import Strength
from jacexp.methods.method import Method
from jacexp.models.network import Normalize
from jacexp.ranges import AtLeastOne


class SpectralNorm(Method):
    """CE + lam · mean h(σ₁(J)), h(σ) = σ (Johansson et al., Eq. 8, Algorithm 1); ``power=2`` is h(σ) = σ².

    σ₁ is estimated by σ̂ = ‖Jᵀû‖, û = Jv/‖Jv‖, after n_iter power iterations from a fresh v ~ N(0, I) for each sample
    of each batch. û is held constant; ``detach=False`` differentiates through it too.
    """

    lam: Strength
    n_iter: AtLeastOne = 1
    power: Literal[1, 2] = 1
    detach: bool = True

    @override
    def draw(self, x: Tensor, z: Tensor, generator: torch.Generator | None) -> Noise:
        """Draw the start of the power iteration, v ~ N(0, I), (B, *in)."""
        return {"v": standard_normal_like(x, generator)}

    @override
    def penalty(self, lin: Linearization, batch: Batch, noise: Noise) -> Tensor:
        """σ̂ = ‖Jᵀû‖ of each sample, (B,)."""
        if self.detach:
            with torch.no_grad():
                u = power_iteration(lin, noise["v"], self.n_iter)
        else:
            u = power_iteration(lin, noise["v"], self.n_iter)
        return per_sample_norm(lin.vjp(u)) ** self.power

    @override
    def passes(
        self, step: Step, batch: Batch, noise: Noise, strength: Factor, normalize: Normalize
    ) -> Tensor:
        """F(y), N · F(v), (N − 1) · Bx(u), Bx[dy; u], F(w), Bw[y; w̃]ᵀ[dy; u].

        σ̂ = ⟨û, J ŵ⟩ with ŵ = unit(Jᵀû), and with û constant its gradient is that of ⟨û, J ŵ⟩ with both constant: the
        adjoints of the pass that gave Jᵀû, and the tangents of one more forward mode.

        Returns:
            The penalty, (B,).
        """
        lin, v = step.lin, noise["v"].to(step.dy.dtype)
        if not self.detach:
            return self._passes_through(step, v, strength)
        u = unit(lin.forward(v))
        for _ in range(self.n_iter - 1):
            u = unit(lin.forward(unit(lin.backward(u))))
        adjoints: Passed = {}
        w = lin.backward(torch.cat([step.dy, u]), loss=True, seen=adjoints.__setitem__)
        sigma = per_sample_norm(w)
        lin.forward(self._slope(w, sigma, strength), lambda i, v: step.add(i, [v], [adjoints.pop(i)]))
        return sigma**self.power

    def _slope(self, w: Tensor, sigma: Tensor, strength: Factor) -> Tensor:
        """Compute lam · ∂σ̂^power/∂w."""
        slope = strength * self.power * sigma ** (self.power - 1) / torch.where(sigma > 0, sigma, 1)
        return w * slope.view(-1, *[1] * (w.ndim - 1)).to(w.dtype)

    def _passes_through(self, step: Step, v: Tensor, strength: Factor) -> Tensor:
        """Differentiate ⟨û_n, J ŵ_n⟩ in û_n, through unit to ⟨q_n, J v̂_{n-1}⟩, in v̂_{n-1}, and so on to n = 1."""
        lin, rounds = step.lin, list[Round]()
        for n in range(self.n_iter):
            this = Round()
            this.Jv = lin.forward(v, this.tangents.__setitem__)
            last = n == self.n_iter - 1
            rows = torch.cat([step.dy, unit(this.Jv)]) if last else unit(this.Jv)
            this.Ju = lin.backward(rows, loss=last, seen=this.adjoints.__setitem__)
            rounds.append(this)
            v = unit(this.Ju)
        sigma = per_sample_norm(this.Ju)
        w = self._slope(this.Ju, sigma, strength)
        tangents, adjoints = list[Passed](), list[Passed]()
        while rounds:
            this = rounds.pop()
            of_w, of_q = Passed(), Passed()
            q = unit_backward(this.Jv, lin.forward(w, of_w.__setitem__))
            if rounds:
                w = unit_backward(rounds[-1].Ju, lin.backward(q, seen=of_q.__setitem__))
            else:
                lin.adjoints(q, of_q.__setitem__)
            tangents += [of_w, this.tangents]
            adjoints += [this.adjoints, of_q]
        for number in step.inputs:
            step.add(number, [t[number] for t in tangents], [u[number] for u in adjoints])
        return sigma**self.power


class Round:
    """One power iteration: J v with what entered the layers, and Jᵀû with what came back to them."""

    Jv: Tensor
    Ju: Tensor

    def __init__(self) -> None:
        self.tangents: Passed = {}
        self.adjoints: Passed = {}


def unit_backward(a: Tensor, g: Tensor) -> Tensor:
    """Differentiate â = a/‖a‖: the adjoint g of â becomes (g − â⟨â, g⟩)/‖a‖ for a, and 0 where a = 0."""
    direction, gradient = unit(a).flatten(1), g.flatten(1)
    length = per_sample_norm(a)[:, None]
    gradient = gradient - direction * (direction * gradient).sum(dim=1, keepdim=True)
    return torch.where(length > 0, gradient / torch.where(length > 0, length, 1), 0).view_as(a)
