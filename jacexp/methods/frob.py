"""Frobenius norm regularisation of the Jacobian."""

import torch
from torch import Tensor
from typing_extensions import override

from jacexp.data.spec import Batch
from jacexp.jacobian.linearize import Linearization
from jacexp.jacobian.norms import exact_jacobian, per_sample_norm, projected_frobenius, sphere_like
from jacexp.jacobian.step import Factor, Passed, Step, scaled
from jacexp.methods.draws import Noise
from jacexp.methods.hyperparameters import Strength
from jacexp.methods.method import Method
from jacexp.models.network import Normalize
from jacexp.ranges import AtLeastZero


class FrobeniusNorm(Method):
    """CE + lam · mean ‖J‖_F², estimated by (C/n_proj) Σ_j ‖Jᵀu_j‖² (Hoffman et al. 2019; Johansson et al., Eq. 2).

    The u_j are uniform on the unit sphere of R^C, fresh for each sample of each batch; ``n_proj=0`` takes all C rows
    of J, which is exact. There is no factor ½ (Hoffman et al. have one).
    """

    lam: Strength
    n_proj: AtLeastZero = 1

    sample_dim = 1

    @override
    def draw(self, x: Tensor, z: Tensor, generator: torch.Generator | None) -> Noise:
        """Draw the projections, (n_proj, B, C), uniform on the unit sphere."""
        return {"u": sphere_like(z, self.n_proj, generator)} if self.n_proj else {}

    @override
    def penalty(self, lin: Linearization, batch: Batch, noise: Noise) -> Tensor:
        """‖J‖_F² of each sample or its estimate, (B,)."""
        if self.n_proj == 0:
            return per_sample_norm(exact_jacobian(lin)).square()
        return projected_frobenius(lin, noise["u"])

    @override
    def passes(
        self, step: Step, batch: Batch, noise: Noise, strength: Factor, normalize: Normalize
    ) -> Tensor:
        """F(y), Bx[dy; u_1 … u_n], F(w_1 … w_n), Bw[y; w̃]ᵀ[dy; u]: ‖Jᵀu‖² has the gradient of 2⟨u, J w⟩, w = Jᵀu.

        The exact norm takes the rows of the identity as its projections.

        Returns:
            The penalty, (B,).
        """
        n_classes, dtype = step.dy.shape[1], step.dy.dtype
        identity = torch.eye(n_classes, dtype=dtype, device=step.dy.device)
        u = noise["u"] if self.n_proj else identity[:, None].expand(-1, len(step.y), -1)
        adjoints: Passed = {}
        rows = torch.cat([step.dy, u.flatten(0, 1).to(dtype)])
        w = step.lin.backward(rows, loss=True, seen=adjoints.__setitem__)
        penalty = n_classes * per_sample_norm(w).square().view(len(u), -1).mean(dim=0)
        w = scaled(w, 2 * strength * n_classes / len(u))
        step.lin.forward(w, lambda i, v: step.add(i, [v], [adjoints.pop(i)]))
        return penalty
