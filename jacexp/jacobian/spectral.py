"""The largest singular value of the Jacobian, one a sample: by so many power iterations, or to convergence."""

import warnings
from typing import NamedTuple, overload

import torch
from torch import Tensor, nn

from jacexp.errors import ConfigError, ConvergenceWarning
from jacexp.jacobian.linearize import Engine, Linearization
from jacexp.jacobian.norms import (
    exact_jacobian,
    linearization,
    matrix_norms,
    one_or_nan,
    per_sample_norm,
    power_iteration,
    standard_normal_like,
    unit,
)
from jacexp.jacobian.shapes import require_count, require_tolerance

MOST_ROUNDS = 1000
"""Power iterations at most, where a tolerance is asked for and no number."""


class Estimate(NamedTuple):
    """A singular value of each sample's Jacobian, and how far from it the iteration ended."""

    value: Tensor
    """σ̂, (B,), differentiable with respect to the parameters; never above σ₁."""
    error: Tensor
    """‖J v − σ̂ û‖ with v = Jᵀû/σ̂, (B,), constant; a singular value of J is at most so far from σ̂."""


@overload
def spectral_norm(
    net: nn.Module,
    x: Tensor,
    *,
    n_iter: int | None = None,
    tol: None = None,
    generator: torch.Generator | None = None,
    engine: Engine = "auto",
) -> Tensor: ...
@overload
def spectral_norm(
    net: Linearization,
    *,
    n_iter: int | None = None,
    tol: None = None,
    generator: torch.Generator | None = None,
) -> Tensor: ...
@overload
def spectral_norm(
    net: nn.Module,
    x: Tensor,
    *,
    n_iter: int | None = None,
    tol: float,
    generator: torch.Generator | None = None,
    engine: Engine = "auto",
) -> Estimate: ...
@overload
def spectral_norm(
    net: Linearization, *, n_iter: int | None = None, tol: float, generator: torch.Generator | None = None
) -> Estimate: ...
def spectral_norm(
    net: nn.Module | Linearization,
    x: Tensor | None = None,
    *,
    n_iter: int | None = None,
    tol: float | None = None,
    generator: torch.Generator | None = None,
    engine: Engine = "auto",
) -> Tensor | Estimate:
    """Estimate each sample's largest singular value, σ₁(J) = max ‖J v‖ over ‖v‖ = 1, by power iteration.

    û = J v/‖J v‖, σ̂ = ‖Jᵀû‖, and v = Jᵀû/‖Jᵀû‖ for the next round, from v ~ N(0, I) (Johansson et al., Eq. 3 and
    Algorithm 1). σ̂ never exceeds σ₁ and never falls with more rounds. û is held constant, so the gradient of σ̂ is
    that of ‖Jᵀû‖, which at convergence is the gradient of σ₁.

    With ``tol`` the iteration goes on until ‖J v − σ̂ û‖ ≤ tol · σ̂ for every sample. By Weyl's inequality a singular
    value of J then lies within tol · σ̂ of σ̂, and from a random start it is, almost surely, the largest: no
    iteration can exclude that its start was orthogonal to the first singular vector. Where σ₁ and σ₂ agree
    to tol, v may be any mixture of their vectors. Where they are close and do not, it takes about
    log(1/tol)/(2 − 2σ₂/σ₁) rounds; `singular_values` with k = 1 iterates three vectors and goes by σ₄/σ₁.

    Args:
        net: any module (B, *in) -> (B, C), see `linearize` for batch norm and dropout; or a linearisation, whose one
            forward pass then serves all that is computed from it.
        x: the batch, (B, *in), of a module; a linearisation has its own.
        n_iter: power iterations, ≥ 1, by default 1; 0 takes all C rows of J and their singular values, which is
            exact. With ``tol``, how many there are at most, by default 1000.
        tol: the relative error at which to end, above the precision of x's type; None makes n_iter rounds.
        generator: where v is drawn from, on x's device; None means PyTorch's global generator.
        engine: see `linearize`; a linearisation has its own.

    Returns:
        σ̂, shape (B,), in the units of a logit per unit of x; with ``tol`` an `Estimate`, σ̂ and the error reached.
        Nothing is averaged or summed over samples. NaN for a sample whose input or logits are not finite, as is what
        it adds to gradients.

    Raises:
        ConfigError: for an n_iter that is no whole number ≥ 0, n_iter=0 with a tol, a tol that x's type cannot
            reach, a generator that is none, a module without x or a linearisation with one, and as `linearize`.

    Warns:
        ConvergenceWarning: if n_iter rounds do not bring every sample below tol; ``error`` says which and how far.

    Example:
        >>> import torch
        >>> layer = torch.nn.Linear(3, 2, bias=False)
        >>> sigma, error = spectral_norm(layer, torch.zeros(1, 3), tol=1e-4)
        >>> exact = torch.linalg.svdvals(layer.weight)[0]
        >>> bool((exact - sigma).abs() <= error + 1e-6)
        True
    """
    if n_iter is not None:
        require_count("n_iter", n_iter)
    if tol is not None and n_iter == 0:
        raise ConfigError("n_iter=0 is exact and leaves nothing to tol: give one of them")
    lin = linearization(net, x, engine)
    if n_iter == 0:
        return matrix_norms(exact_jacobian(lin), 2)
    v = standard_normal_like(lin.x, generator)
    if tol is None:
        u = power_iteration(lin, v, 1 if n_iter is None else n_iter).detach()
        return per_sample_norm(lin.vjp(u)) * one_or_nan(lin)
    require_tolerance(tol, lin.logits.dtype)
    u, error = _converged(lin, v, tol, MOST_ROUNDS if n_iter is None else n_iter)
    return Estimate(per_sample_norm(lin.vjp(u)) * one_or_nan(lin), error * one_or_nan(lin))


def _converged(lin: Linearization, v: Tensor, tol: float, n_iter: int) -> tuple[Tensor, Tensor]:
    """Iterate until ‖J v − σ̂ û‖ ≤ tol · σ̂ for every sample that has a number, or n_iter rounds are over.

    Returns:
        û, (B, C), and the residual, (B,).
    """
    with torch.no_grad():
        Jv = lin.jvp(v)
        for _ in range(n_iter):
            u = unit(Jv)
            JTu = lin.vjp(u)
            sigma = per_sample_norm(JTu)
            Jv = lin.jvp(unit(JTu))
            error = per_sample_norm(Jv - sigma[:, None] * u)
            late = error > tol * sigma  # False for NaN, which no further round would mend
            if not late.any():
                return u, error
    worst = (error[late] / sigma[late]).max().item()
    warnings.warn(
        f"{int(late.sum())} of {len(late)} samples are above tol={tol:g} after {n_iter} power iterations, the worst at "
        f"{worst:.2g}: raise n_iter or tol",
        ConvergenceWarning,
        stacklevel=3,
    )
    return u, error
