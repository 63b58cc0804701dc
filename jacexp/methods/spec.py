"""Exact spectral norm regularisation."""

from typing import Literal, Unpack

import torch
from torch import Tensor
from typing_extensions import override

from jacexp.data import Batch
from jacexp.jacobian import Linearization, objectives
from jacexp.jacobian.norms import per_sample_norm, power_iteration, standard_normal_like
from jacexp.jacobian.objectives import Strength
from jacexp.methods.base import RegularizedModule, Settings, require
from jacexp.methods.draws import Noise
from jacexp.models import Network
from jacexp.models.network import Normalize


class SpectralNorm(RegularizedModule):
    """CE + lam · mean h(σ₁(J)), h(σ) = σ (Johansson et al., Eq. 8, Algorithm 1); ``power=2`` is h(σ) = σ².

    σ₁ is estimated by σ̂ = ‖Jᵀû‖, û = Jv/‖Jv‖, after n_iter power iterations from a fresh v ~ N(0, I) for each sample
    of each batch. û is held constant; ``detach=False`` differentiates through it too.
    """

    strength = "lam"

    def __init__(
        self,
        net: Network,
        *,
        lam: float,
        n_iter: int = 1,
        power: Literal[1, 2] = 1,
        detach: bool = True,
        **settings: Unpack[Settings],
    ) -> None:
        """Take the strength lam ≥ 0, the number of power iterations ≥ 1, the power 1 or 2, and whether û is constant.

        Raises:
            ConfigError: for any other value.
        """
        super().__init__(net, **settings)
        require(lam >= 0, f"method.lam={lam}: the strength must not be negative")
        require(n_iter >= 1, f"method.n_iter={n_iter}: the power iteration needs at least one round")
        require(power in (1, 2), f"method.power={power}: choose 1 (σ) or 2 (σ²)")
        self.lam = lam
        self.n_iter = n_iter
        self.power = power
        self.detach = detach

    def draw(self, x: Tensor, generator: torch.Generator) -> Noise:
        """Draw the start of the power iteration, v ~ N(0, I), (B, *in)."""
        return {"v": standard_normal_like(x, generator)}

    @override
    def objective(
        self, batch: Batch, noise: Noise, strength: Strength, normalize: Normalize
    ) -> objectives.Spectral:
        """Give the explicit passes of Algorithm 1."""
        return objectives.Spectral(
            strength=strength, v=noise["v"], n_iter=self.n_iter, power=self.power, detach=self.detach
        )

    def penalty(self, lin: Linearization, batch: Batch, noise: Noise) -> Tensor:  # noqa: ARG002
        """σ̂ = ‖Jᵀû‖ of each sample, (B,)."""
        if self.detach:
            with torch.no_grad():
                u = power_iteration(lin, noise["v"], self.n_iter)
        else:
            u = power_iteration(lin, noise["v"], self.n_iter)
        return per_sample_norm(lin.vjp(u)) ** self.power
