"""Frobenius norm regularisation of the Jacobian."""

from typing import Unpack

import torch
from torch import Tensor
from typing_extensions import override

from jacexp.data import Batch
from jacexp.jacobian import Linearization, objectives
from jacexp.jacobian.norms import exact_jacobian, per_sample_norm, projected_frobenius, sphere_like
from jacexp.jacobian.objectives import Strength
from jacexp.methods.base import RegularizedModule, Settings, require
from jacexp.methods.draws import Noise
from jacexp.models import Network
from jacexp.models.network import Normalize


class FrobeniusNorm(RegularizedModule):
    """CE + lam · mean ‖J‖_F², estimated by (C/n_proj) Σ_j ‖Jᵀu_j‖² (Hoffman et al. 2019; Johansson et al., Eq. 2).

    The u_j are uniform on the unit sphere of R^C, fresh for each sample of each batch; ``n_proj=0`` takes all C rows
    of J, which is exact. There is no factor ½ (Hoffman et al. have one).
    """

    strength = "lam"
    sample_dim = 1

    def __init__(self, net: Network, *, lam: float, n_proj: int = 1, **settings: Unpack[Settings]) -> None:
        """Take the strength lam ≥ 0 and the number of projections, 0 for the exact norm.

        Raises:
            ConfigError: for a negative value.
        """
        super().__init__(net, **settings)
        require(lam >= 0, f"method.lam={lam}: the strength must not be negative")
        require(n_proj >= 0, f"method.n_proj={n_proj}: choose 1 or more projections, or 0 for the exact norm")
        self.lam = lam
        self.n_proj = n_proj

    def draw(self, x: Tensor, generator: torch.Generator) -> Noise:
        """Draw the projections, (n_proj, B, C), uniform on the unit sphere."""
        if self.n_proj == 0:
            return {}
        logits = x.new_empty(len(x), self.net.n_classes)
        return {"u": sphere_like(logits, self.n_proj, generator)}

    @override
    def objective(
        self, batch: Batch, noise: Noise, strength: Strength, normalize: Normalize
    ) -> objectives.Frobenius:
        """Give the explicit passes; the exact norm takes the rows of the identity as its projections."""
        n_classes = self.net.n_classes
        identity = torch.eye(n_classes, dtype=batch.x.dtype, device=batch.x.device)
        u = noise["u"] if self.n_proj else identity[:, None].expand(-1, len(batch.x), -1)
        return objectives.Frobenius(strength=strength, u=u)

    def penalty(self, lin: Linearization, batch: Batch, noise: Noise) -> Tensor:  # noqa: ARG002
        """‖J‖_F² of each sample or its estimate, (B,)."""
        if self.n_proj == 0:
            return per_sample_norm(exact_jacobian(lin)).square()
        return projected_frobenius(lin, noise["u"])
