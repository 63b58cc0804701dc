"""What a linearisation accepts: one clear error for anything else, in place of one from deep inside PyTorch."""

from typing import Any

import torch
from torch import Tensor

from jacexp.errors import ConfigError


def require_batch(x: Any) -> None:
    """Check a network's input.

    Raises:
        ConfigError: unless x is a tensor of floating-point numbers, (B, *in).
    """
    if not isinstance(x, Tensor):
        raise ConfigError(f"x is a {type(x).__name__}, not a tensor: pass torch.as_tensor(x)")
    if not x.is_floating_point():
        raise ConfigError(f"x is {x.dtype}: derivatives need floating-point input, for example x.float()")
    if x.ndim < 2:
        raise ConfigError(f"x has shape {tuple(x.shape)}; it needs (B, *in), for one sample x[None]")


def require_logits(z: Any, x: Tensor) -> Tensor:
    """Check a network's output at x, (B, *in).

    Returns:
        The output.

    Raises:
        ConfigError: unless it is one tensor (B, C).
    """
    if not isinstance(z, Tensor):
        raise ConfigError(
            f"the network returns a {type(z).__name__}; Jacobians need one tensor of logits, (B, C): "
            "wrap it in a module that returns just that"
        )
    if z.ndim != 2 or len(z) != len(x):
        raise ConfigError(
            f"the network maps {tuple(x.shape)} to {tuple(z.shape)}; Jacobians need (B, *in) -> (B, C)"
        )
    return z


def require_vector(name: str, v: Any, like: Tensor, *, several: bool = False) -> None:
    """Check a vector that is to be multiplied by a Jacobian or its transpose.

    Args:
        name: what the error calls it.
        v: the vector.
        like: a tensor of the shape, type and device that it needs; under autocast any floating-point type will do.
        several: whether there may be k of them a sample, (k · B, ...).

    Raises:
        ConfigError: if it does not fit.
    """
    if not isinstance(v, Tensor):
        raise ConfigError(f"{name} is a {type(v).__name__}, not a tensor")
    fits = v.ndim == like.ndim and v.shape[1:] == like.shape[1:]
    if not fits or (len(v) != len(like) and not (several and len(v) and len(v) % len(like) == 0)):
        or_several = ", or several of these along the batch" if several else ""
        raise ConfigError(f"{name} has shape {tuple(v.shape)}; it needs {tuple(like.shape)}{or_several}")
    if v.device != like.device:
        raise ConfigError(f"{name} is on {v.device} and the network's on {like.device}")
    if v.dtype != like.dtype and not (v.is_floating_point() and torch.is_autocast_enabled(like.device.type)):
        raise ConfigError(f"{name} is {v.dtype}; it needs {like.dtype}")


def require_count(name: str, n: Any) -> None:
    """Check how many there are to be of something.

    Raises:
        ConfigError: unless it is a whole number of 0 or more.
    """
    if not isinstance(n, int) or isinstance(n, bool) or n < 0:
        raise ConfigError(f"{name}={n!r}: choose a whole number, 0 or more")


def require_tolerance(tol: Any, dtype: torch.dtype) -> None:
    """Check the relative error that an iteration is to reach in numbers of a type.

    Raises:
        ConfigError: unless it is a number above the type's precision and below 1.
    """
    precision = torch.finfo(dtype).eps
    if not isinstance(tol, int | float) or not precision < tol < 1:
        raise ConfigError(
            f"tol={tol!r}: choose a number between {precision:.2g}, the precision of {dtype}, and 1"
        )


def require_generator(generator: Any, x: Tensor) -> None:
    """Check where something like x is drawn from.

    Raises:
        ConfigError: unless it is None or a `torch.Generator` on x's device.
    """
    if generator is None:
        return
    if not isinstance(generator, torch.Generator):
        raise ConfigError(
            f"generator={generator!r} is no torch.Generator: pass torch.Generator(x.device).manual_seed(0)"
        )
    if generator.device.type != x.device.type:
        raise ConfigError(f"the generator is on {generator.device} and x on {x.device}")


def require_classes(y: Any, x: Tensor) -> None:
    """Check the classes of a batch x, (B, *in), but for their range.

    Raises:
        ConfigError: unless y is int64, (B,), on x's device.
    """
    if not isinstance(y, Tensor) or y.dtype != torch.int64 or y.shape != x.shape[:1]:
        found = f"{y.dtype} {tuple(y.shape)}" if isinstance(y, Tensor) else type(y).__name__
        raise ConfigError(f"y is {found}; classes are int64, ({len(x)},), one a sample")
    if y.device != x.device:
        raise ConfigError(f"y is on {y.device} and x on {x.device}")


def require_penalty(name: str, penalty: Any, shape: torch.Size) -> Tensor:
    """Check what a method returned as its penalty.

    Args:
        name: the method's.
        penalty: what it returned.
        shape: (B,) for one number a sample, () for one that belongs to the weights.

    Returns:
        The penalty.

    Raises:
        ConfigError: if it has another shape.
    """
    if not isinstance(penalty, Tensor) or penalty.shape != shape:
        found = f"a tensor {tuple(penalty.shape)}" if isinstance(penalty, Tensor) else type(penalty).__name__
        wanted = f"one number a sample, {tuple(shape)}" if shape else "one number for all weights, ()"
        raise ConfigError(f"{name} returned {found} as its penalty; it must return {wanted}")
    return penalty
