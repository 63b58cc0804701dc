"""Products over layers that are meant to bound the Jacobian's spectral norm."""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from jacexp.errors import ConfigError
from jacexp.random import make_generator

MAX_ITERATIONS = 1000
"""Power iterations on a layer that does not converge before."""

TOLERANCE = 1e-9
"""Relative gain of an iteration at which a layer's norm has converged."""

NO_STEEPER_THAN_ONE = (nn.ReLU, nn.Dropout, nn.Flatten, nn.Identity, nn.ConstantPad2d)
"""Layers with ‖f(a) − f(b)‖ ≤ ‖a − b‖ in eval mode."""


class NoBoundError(ConfigError):
    """A network of which no operator bound is known."""


def reshaped_bound(body: nn.Module) -> float:
    """Return Π_l σ₁(W_l), a kernel reshaped to (out, in·k·k) (Johansson et al., Eq. 4 and 5).

    This is what the Spectral-Bound method penalises. It is no bound on the Jacobian: a convolution's norm can be
    larger than its reshaped kernel's, and batch norm and pools are left out.

    Args:
        body: a network; only its linear and convolutional layers count.

    Returns:
        The product over all of them, in float64.
    """
    layers = [layer for layer in body.modules() if isinstance(layer, nn.Linear | nn.Conv2d)]
    return math.prod(matrix_norm(layer.weight.detach().flatten(1)) for layer in layers)


def operator_bound(body: nn.Module, x: Tensor, *, seed: int = 0) -> float:
    """Return Π_l ‖f_l‖ ≥ ‖J‖₂, the norm of each layer as the map that it is on images of x's size.

    Args:
        body: layers that follow one another, in eval mode; past a branch or an operation between them is no product.
        x: normalised images, (B, C, H, W), of which only the size matters.
        seed: of the start of the power iterations.

    Returns:
        The product over all layers, in float64.

    Raises:
        NoBoundError: for a layer whose norm is not known, and for layers that do not just follow one another.
    """
    norms = [
        layer_norm(layer, v, make_generator(seed, "operator_bound", i))
        for i, (layer, v) in enumerate(_chain(body, x[:1]))
    ]
    return math.prod(norms)


def _chain(body: nn.Module, x: Tensor) -> list[tuple[nn.Module, Tensor]]:
    """Run a network and return its layers with their inputs, if each gets what the one before it returned."""
    met: list[tuple[nn.Module, Tensor]] = []
    last, version = x, x._version

    def before(layer: nn.Module, inputs: tuple[Any, ...]) -> None:
        if not (len(inputs) == 1 and _is_same(inputs[0], last, version)):
            raise NoBoundError(
                f"no operator bound is known: {type(layer).__name__} does not just follow a layer"
            )
        met.append((layer, inputs[0]))

    def after(_: nn.Module, __: tuple[Any, ...], output: Tensor) -> None:
        nonlocal last, version
        last, version = output, output._version

    leaves = [layer for layer in body.modules() if not list(layer.children())]
    hooks = [leaf.register_forward_pre_hook(before) for leaf in leaves]
    hooks += [leaf.register_forward_hook(after) for leaf in leaves]
    try:
        with torch.no_grad():
            z = body(x)
    finally:
        for hook in hooks:
            hook.remove()
    if not _is_same(z, last, version):
        raise NoBoundError("no operator bound is known: the network computes something after its last layer")
    return met


def _is_same(a: Any, b: Tensor, version: int) -> bool:
    """Return whether a is b or a view of all of it, which nobody has changed since that version of b."""
    return (
        isinstance(a, Tensor)
        and a.data_ptr() == b.data_ptr()
        and a.numel() == b.numel()
        and a._version == version
    )


def layer_norm(layer: nn.Module, x: Tensor, generator: torch.Generator) -> float:
    """Return an L with ‖f(a) − f(b)‖ ≤ L·‖a − b‖ for one layer f in eval mode.

    The norm itself for linear layers, convolutions (zero padding included), average pools and batch norm. For a max
    pool it is the bound of `max_pool_norm`.

    Args:
        layer: one of these, or one that is nowhere steeper than 1.
        x: an input of it, (1, ...), of which only the size matters.
        generator: of a power iteration's start, on the CPU.

    Returns:
        The norm, in float64.

    Raises:
        NoBoundError: for a layer whose norm is not known.
    """
    if isinstance(layer, nn.Linear):
        return matrix_norm(layer.weight.detach())
    if isinstance(layer, nn.Conv2d | nn.AvgPool2d | nn.AdaptiveAvgPool2d):
        return map_norm(layer, x, generator)
    if isinstance(layer, nn.MaxPool2d):
        return max_pool_norm(layer)
    if isinstance(layer, _BatchNorm) and layer.running_var is not None:
        scale = (layer.running_var.double() + layer.eps).rsqrt()
        return float((scale * (1 if layer.weight is None else layer.weight.detach())).abs().max())
    if isinstance(layer, NO_STEEPER_THAN_ONE):
        return 1.0
    raise NoBoundError(f"no operator bound is known: no norm is for a layer {type(layer).__name__}")


def max_pool_norm(pool: nn.MaxPool2d) -> float:
    """Return √(⌈k/s⌉²) of a max pool: no pixel wins more windows than that, and each window has one winner."""
    kernel, stride = np.broadcast_to(pool.kernel_size, 2), np.broadcast_to(pool.stride, 2)
    return math.sqrt(np.ceil(kernel / stride).prod())


def matrix_norm(weight: Tensor) -> float:
    """Return σ₁ of a matrix, (m, n), by the eigenvalues of the smaller of WWᵀ and WᵀW, in float64."""
    w = weight.double()
    gram = w @ w.T if w.shape[0] <= w.shape[1] else w.T @ w
    return math.sqrt(max(torch.linalg.eigvalsh(gram)[-1].item(), 0.0))


def map_norm(layer: nn.Module, x: Tensor, generator: torch.Generator) -> float:
    """Return the norm of an affine map f(v) = A v + b, by power iteration on AᵀA in float64 until it converges.

    Args:
        layer: the map.
        x: an input of it, (1, ...), of which only the size matters.
        generator: of the start, on the CPU.

    Returns:
        ‖A‖₂, from below.
    """
    weights = {name: weight.detach().double() for name, weight in layer.named_parameters()}

    def apply(v: Tensor) -> Tensor:
        output: Tensor = torch.func.functional_call(layer, weights, (v,))
        return output

    zero = torch.zeros_like(x, dtype=torch.float64)
    offset, transpose, *_ = torch.func.vjp(apply, zero)
    v = torch.randn(x.shape, dtype=torch.float64, generator=generator).to(x.device)
    norm = 0.0
    for _ in range(MAX_ITERATIONS):
        u = apply(v / v.norm()) - offset
        previous, norm = norm, u.norm().item()
        (v,) = transpose(u)
        if norm - previous <= TOLERANCE * norm:
            break
    return norm
