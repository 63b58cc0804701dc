"""Norms of the input-output Jacobian, one number a sample."""

from typing import overload

import torch
from torch import Tensor, nn

from jacexp.errors import ConfigError
from jacexp.jacobian.linearize import Engine, Linearization, linearize
from jacexp.jacobian.shapes import require_count, require_generator


@overload
def frobenius_norm(
    net: nn.Module,
    x: Tensor,
    *,
    n_proj: int = 0,
    generator: torch.Generator | None = None,
    engine: Engine = "auto",
) -> Tensor: ...
@overload
def frobenius_norm(
    net: Linearization, *, n_proj: int = 0, generator: torch.Generator | None = None
) -> Tensor: ...
def frobenius_norm(
    net: nn.Module | Linearization,
    x: Tensor | None = None,
    *,
    n_proj: int = 0,
    generator: torch.Generator | None = None,
    engine: Engine = "auto",
) -> Tensor:
    """Compute the Frobenius norm of each sample's Jacobian, ‖J‖_F = √Σ_ij J_ij², exactly or from random projections.

    The estimate is √((C/n_proj) Σ_j ‖Jᵀu_j‖²), u_j uniform on the unit sphere of R^C (Hoffman et al. 2019; Johansson
    et al., Eq. 2). Its square is unbiased.

    Args:
        net: a module or a linearisation; see `jacexp.spectral_norm`.
        x: the batch, (B, *in), of a module; a linearisation has its own.
        n_proj: random projections, ≥ 1; 0 takes all C rows of J, which is exact.
        generator: where the projections are drawn from, on x's device; None means PyTorch's global generator.
        engine: see `linearize`; a linearisation has its own.

    Returns:
        The norm itself, not its square, shape (B,). Nothing is averaged or summed over samples. NaN for a sample
        whose input or logits are not finite.

    Raises:
        ConfigError: for an n_proj that is no whole number ≥ 0, a generator that is none, a module without x or a
            linearisation with one, and as `linearize`.
    """
    require_count("n_proj", n_proj)
    lin = linearization(net, x, engine)
    if n_proj == 0:
        return per_sample_norm(exact_jacobian(lin))
    return projected_frobenius(lin, sphere_like(lin.logits, n_proj, generator)).sqrt() * one_or_nan(lin)


@overload
def exact_jacobian(net: nn.Module, x: Tensor, *, engine: Engine = "auto") -> Tensor: ...
@overload
def exact_jacobian(net: Linearization) -> Tensor: ...
def exact_jacobian(
    net: nn.Module | Linearization, x: Tensor | None = None, *, engine: Engine = "auto"
) -> Tensor:
    """Compute the whole Jacobian of each sample, J_b = dz_b/dx_b, by C backward passes, one for each row Jᵀe_c.

    Args:
        net: a module or a linearisation; see `jacexp.spectral_norm`.
        x: the batch, (B, *in), of a module; a linearisation has its own.
        engine: see `linearize`; a linearisation has its own.

    Returns:
        J, shape (B, C, *in), differentiable with respect to the parameters; NaN for a sample whose input or logits
        are not finite.

    Raises:
        ConfigError: for a module without x or a linearisation with one, and as `linearize`.
    """
    lin = linearization(net, x, engine)
    basis = torch.eye(lin.logits.shape[1], dtype=lin.logits.dtype, device=lin.logits.device)
    rows = torch.stack([lin.vjp(e.expand_as(lin.logits)) for e in basis], dim=1)
    return rows * one_or_nan(lin).view(-1, *[1] * (rows.ndim - 1))


def one_or_nan(lin: Linearization) -> Tensor:
    """Return 1 for a sample whose input and logits are finite, NaN for any other, (B,).

    A ReLU of NaN has the derivative 0, so that products with the Jacobian may be finite where there is none.
    """
    x, z = lin.x.detach().flatten(1), lin.logits.detach()
    is_defined = x.isfinite().all(dim=1) & z.isfinite().all(dim=1)
    return torch.where(is_defined, 1.0, torch.nan).to(z.dtype)


def matrix_norms(jacobian: Tensor, ord: float | str) -> Tensor:
    """Compute a norm of each sample's matrix, (B, C, *in) -> (B,), NaN where it is not finite: LAPACK refuses such."""
    j = jacobian.flatten(2)
    is_finite = j.detach().isfinite().all(dim=2).all(dim=1)
    norms = torch.linalg.matrix_norm(torch.where(is_finite[:, None, None], j, 0), ord=ord)
    return torch.where(is_finite, norms, torch.nan)


def linearization(net: nn.Module | Linearization, x: Tensor | None, engine: Engine) -> Linearization:
    """Return the linearisation that a norm is asked for: the given one, or that of a module at x.

    Raises:
        ConfigError: for a module without x, or a linearisation with x or an engine.
    """
    if isinstance(net, nn.Module):
        if x is None:
            raise ConfigError("a network needs the batch x that its Jacobian is taken at")
        return linearize(net, x, engine=engine)
    if not isinstance(net, Linearization):
        raise ConfigError(f"a {type(net).__name__} is neither a torch.nn.Module nor a linearisation")
    if x is not None or engine != "auto":
        raise ConfigError("a linearisation has its batch and engine: leave x and engine out")
    return net


def power_iteration(lin: Linearization, v: Tensor, n_iter: int) -> Tensor:
    """Run n_iter rounds of û = J v/‖J v‖, v = Jᵀû (Johansson et al., Algorithm 1), one unit vector a sample.

    Args:
        lin: the linearised network.
        v: where the iteration starts, (B, *in); its length does not matter.
        n_iter: rounds, ≥ 1.

    Returns:
        û, (B, C); zero for a sample with J v = 0.

    Raises:
        ConfigError: if n_iter is less than 1.
    """
    if n_iter < 1:
        raise ConfigError(f"n_iter={n_iter}: the power iteration needs at least one round")
    u = unit(lin.jvp(v))
    for _ in range(n_iter - 1):
        u = unit(lin.jvp(unit(lin.vjp(u))))
    return u


def projected_frobenius(lin: Linearization, u: Tensor) -> Tensor:
    """Estimate ‖J‖_F² = C E‖Jᵀu‖² by (C/n_proj) Σ_j ‖Jᵀu_j‖² (Johansson et al., Eq. 2).

    Args:
        lin: the linearised network.
        u: unit vectors of R^C, (n_proj, B, C).

    Returns:
        The estimate of the *squared* norm, shape (B,).
    """
    n_classes = u.shape[-1]
    return n_classes * torch.stack([per_sample_norm(lin.vjp(u_j)).square() for u_j in u]).mean(dim=0)


def per_sample_norm(x: Tensor, ord: float = 2) -> Tensor:
    """Compute the vector norm of each sample, (B, ...) -> (B,), with gradient 0 (not NaN) at 0."""
    return torch.linalg.vector_norm(x.flatten(1), ord=ord, dim=1)


def unit(x: Tensor) -> Tensor:
    """Scale each sample to length 1, (B, ...) -> (B, ...); a zero sample stays zero, with a finite gradient."""
    flat = x.flatten(1)
    # Dividing by the largest entry first keeps the squares of tiny and huge entries inside the float range.
    largest = flat.detach().abs().amax(dim=1, keepdim=True)
    flat = flat / torch.where(largest > 0, largest, 1)
    length = torch.linalg.vector_norm(flat, dim=1, keepdim=True)
    return (flat / torch.where(length > 0, length, 1)).view_as(x)


def standard_normal_like(x: Tensor, generator: torch.Generator | None) -> Tensor:
    """Draw N(0, I) in the shape, type and place of x.

    Returns:
        The draws.

    Raises:
        ConfigError: for a generator that is none, or is on another device.
    """
    require_generator(generator, x)
    return torch.randn(x.shape, dtype=x.dtype, device=x.device, generator=generator)


def sphere_like(logits: Tensor, n: int, generator: torch.Generator | None) -> Tensor:
    """Draw n points a sample, uniform on the unit sphere of R^C.

    Args:
        logits: gives B, C, the type and the device, (B, C).
        n: points a sample, ≥ 1.
        generator: where they are drawn from; None means PyTorch's global generator.

    Returns:
        The points, (n, B, C).

    Raises:
        ConfigError: if n is less than 1, and as `standard_normal_like`.
    """
    if n < 1:
        raise ConfigError(f"n_proj={n}: choose 1 or more random projections, or 0 for the exact norm")
    points = standard_normal_like(logits.new_empty((n, *logits.shape)), generator)
    return unit(points.flatten(0, 1)).view_as(points)
