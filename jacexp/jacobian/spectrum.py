"""More of the Jacobian than its largest singular value: the leading ones with their vectors, and other matrix norms."""

from typing import Any, Literal, NamedTuple, get_args, overload

import torch
from torch import Tensor, nn

from jacexp.errors import ConfigError
from jacexp.jacobian.linearize import Engine, Linearization, linearize
from jacexp.jacobian.norms import (
    exact_jacobian,
    frobenius_norm,
    linearization,
    matrix_norms,
    one_or_nan,
    per_sample_norm,
    standard_normal_like,
)

OVERSAMPLING = 2
"""Vectors iterated beyond the k asked for: convergence goes by the gap to the first one left out."""


class SingularValues(NamedTuple):
    """The leading singular values of each sample's Jacobian, J v_i = σ_i u_i, in falling order."""

    values: Tensor
    """σ_1 ≥ … ≥ σ_k, (B, k), differentiable with respect to the parameters."""
    left: Tensor
    """u_i, (B, k, C), constant."""
    right: Tensor
    """v_i, (B, k, *in), constant."""
    error: Tensor
    """‖J v_i − σ_i u_i‖, (B, k); a singular value of J is at most so far from σ_i."""


@overload
def singular_values(
    net: nn.Module,
    x: Tensor,
    *,
    k: int = 1,
    tol: float = 1e-3,
    max_iter: int = 1000,
    generator: torch.Generator | None = None,
    engine: Engine = "auto",
) -> SingularValues: ...
@overload
def singular_values(
    net: Linearization,
    *,
    k: int = 1,
    tol: float = 1e-3,
    max_iter: int = 1000,
    generator: torch.Generator | None = None,
) -> SingularValues: ...
def singular_values(
    net: nn.Module | Linearization,
    x: Tensor | None = None,
    *,
    k: int = 1,
    tol: float = 1e-3,
    max_iter: int = 1000,
    generator: torch.Generator | None = None,
    engine: Engine = "auto",
) -> SingularValues:
    """Compute the k largest singular values of each sample's Jacobian to convergence, without writing it out.

    Subspace iteration with the Rayleigh–Ritz step: from orthonormal U (C × b), the singular vectors of JᵀU give σ_i,
    u_i and v_i with Jᵀu_i = σ_i v_i exactly, and J v_i the next U. It ends when every ‖J v_i − σ_i u_i‖ is at most
    tol · σ_1 of its sample, or after max_iter rounds, each of b = k + 2 products with J and as many with Jᵀ. By Weyl's
    inequality a singular value lies within that error of σ_i, and from a random start it is, almost surely, the i-th.

    Args:
        net: a module or a linearisation; see `jacexp.spectral_norm`.
        x: the batch, (B, *in), of a module; a linearisation has its own.
        k: how many, 1 to min(C, number of inputs).
        tol: the relative error at which the iteration ends, > 0.
        max_iter: rounds at most, ≥ 1; where they do not suffice, ``error`` says how far it is.
        generator: where the start is drawn from, on x's device; None means PyTorch's global generator.
        engine: see `jacexp.linearize`; a linearisation has its own.

    Returns:
        Values, vectors and errors, one set a sample; values and errors in logits per unit of x.

    Raises:
        ConfigError: for k, tol or max_iter out of range, products that are not finite, and as `jacexp.linearize`.

    Example:
        >>> import torch
        >>> layer = torch.nn.Linear(3, 2, bias=False)
        >>> found = singular_values(layer, torch.zeros(1, 3), k=2)
        >>> torch.allclose(found.values[0], torch.linalg.svdvals(layer.weight))
        True
    """
    lin = linearization(net, x, engine)
    rank = min(lin.logits.shape[1], lin.x[0].numel())
    _require("k", k, type(k) is int and 1 <= k <= rank, f"a whole number, 1 to {rank}")
    _require("tol", tol, tol > 0, "a number above 0")
    _require("max_iter", max_iter, type(max_iter) is int and max_iter >= 1, "a whole number, 1 or more")
    shape = len(lin.x), lin.logits.shape[1], min(k + OVERSAMPLING, rank)
    with torch.no_grad():
        Jv = standard_normal_like(lin.logits.new_empty(shape), generator)
        for _ in range(max_iter):
            u, sigma, v = _rayleigh_ritz(lin, Jv)
            Jv = torch.stack([lin.jvp(v_i.view_as(lin.x)) for v_i in v.unbind(1)], dim=2)
            error = torch.linalg.vector_norm(Jv - u * sigma[:, None], dim=1)[:, :k]
            if (error <= tol * sigma[:, :1]).all():
                break
    values = torch.stack([per_sample_norm(lin.vjp(u_i)) for u_i in u[..., :k].unbind(2)], dim=1)
    return SingularValues(values, u[..., :k].mT, v[:, :k].unflatten(2, lin.x.shape[1:]), error)


def _rayleigh_ritz(lin: Linearization, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the best u (B, C, b), σ (B, b) and v (B, b, D) in the span of the columns of y (B, C, b)."""
    exact = torch.promote_types(y.dtype, torch.float32)  # LAPACK has no half precision
    basis = torch.linalg.qr(y.to(exact)).Q
    JT = torch.stack([lin.vjp(u.to(y.dtype)).flatten(1) for u in basis.unbind(2)], dim=1).to(exact)
    if not (JT.isfinite().all() and one_or_nan(lin).isfinite().all()):
        raise ConfigError(
            "the products with the Jacobian are not finite: look at x and the network's weights"
        )
    rotation, sigma, v = torch.linalg.svd(JT, full_matrices=False)
    return (basis @ rotation).to(y.dtype), sigma.to(y.dtype), v.to(y.dtype)


def _require(name: str, value: object, fits: bool, allowed: str) -> None:
    if not fits:
        raise ConfigError(f"{name}={value}: choose {allowed}")


MatrixNorm = Literal[1, 2, "inf", "fro", "nuc"]


@overload
def matrix_norm(net: nn.Module, x: Tensor, *, ord: MatrixNorm = "nuc", engine: Engine = "auto") -> Tensor: ...
@overload
def matrix_norm(net: Linearization, *, ord: MatrixNorm = "nuc") -> Tensor: ...
def matrix_norm(
    net: nn.Module | Linearization,
    x: Tensor | None = None,
    *,
    ord: MatrixNorm = "nuc",
    engine: Engine = "auto",
) -> Tensor:
    """Compute a norm of each sample's Jacobian exactly, from all its C rows.

    With J as a matrix (C, number of inputs): 1 is the induced norm max_i Σ_c |J_ci|, "inf" the induced norm
    max_c Σ_i |J_ci|, which bounds how far a logit moves if each input moves by at most one unit; 2 is σ_1, "fro"
    √Σ σ_i², "nuc" Σ σ_i.

    Args:
        net: a module or a linearisation; see `jacexp.spectral_norm`.
        x: the batch, (B, *in), of a module; a linearisation has its own.
        ord: which norm.
        engine: see `jacexp.linearize`; a linearisation has its own.

    Returns:
        The norm, (B,), differentiable with respect to the parameters; nothing is averaged over samples. NaN for a
        sample whose input or logits are not finite.

    Raises:
        ConfigError: for an unknown norm, and as `jacexp.linearize`.
    """
    if ord not in get_args(MatrixNorm):
        raise ConfigError(f"ord={ord!r}: choose 1, 2, 'inf', 'fro' or 'nuc'")
    known: dict[object, Any] = {"inf": float("inf")}
    return matrix_norms(exact_jacobian(linearization(net, x, engine)), known.get(ord, ord))


def nuclear_bound(
    inner: nn.Module,
    outer: nn.Module,
    x: Tensor,
    *,
    n_proj: int = 1,
    generator: torch.Generator | None = None,
    engine: Engine = "auto",
) -> Tensor:
    """Estimate ½(‖J_g(x)‖_F² + ‖J_h(g(x))‖_F²) ≥ ‖J_f(x)‖_* of f = h ∘ g (Scarvelis & Solomon 2024).

    Over all factorisations of f the least value is the nuclear norm, so training by this penalty is training by that
    norm, without a singular value decomposition (*Nuclear Norm Regularization for Deep Learning*).

    Args:
        inner: g, (B, *in) -> (B, H).
        outer: h, (B, H) -> (B, C).
        x: the batch, (B, *in).
        n_proj: random projections for each factor, see `jacexp.frobenius_norm`; 0 takes all rows, which is exact.
        generator: where they are drawn from, on x's device; None means PyTorch's global generator.
        engine: see `jacexp.linearize`.

    Returns:
        The estimate, (B,), differentiable with respect to the parameters of both; unbiased for the bound.

    Raises:
        ConfigError: as `jacexp.frobenius_norm`.
    """
    g = linearize(inner, x, engine=engine)
    h = linearize(outer, g.logits, engine=engine)
    norms = [frobenius_norm(lin, n_proj=n_proj, generator=generator) for lin in (g, h)]
    return torch.stack(norms).square().sum(dim=0) / 2
