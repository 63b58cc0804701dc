"""A network held still while it is evaluated, and left as it was found."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from jacexp.errors import JacexpError


class EvaluationError(JacexpError):
    """A network that cannot be evaluated."""


@contextmanager
def frozen(net: nn.Module) -> Iterator[None]:
    """Hold a network in eval mode, its parameters constant and input gradients possible, then restore all of it.

    Each module's own mode comes back, so frozen batch-norm layers inside a training network stay frozen; so does each
    parameter's ``requires_grad``. No parameter's ``.grad`` is written. Gradients work inside even where the caller is
    in ``torch.no_grad`` or ``torch.inference_mode`` (Lightning validates there).

    Args:
        net: any module.
    """
    modes = [(module, module.training) for module in net.modules()]
    flags = [(parameter, parameter.requires_grad) for parameter in net.parameters()]
    with _repeatable_cudnn(), torch.inference_mode(False), torch.enable_grad():
        try:
            net.eval().requires_grad_(False)
            yield
        finally:
            for module, mode in modes:
                module.training = mode
            for parameter, flag in flags:
                parameter.requires_grad_(flag)


@contextmanager
def _repeatable_cudnn() -> Iterator[None]:
    """Let cuDNN pick the same deterministic kernels every time."""
    cudnn = torch.backends.cudnn
    before = cudnn.benchmark, cudnn.deterministic
    try:
        cudnn.benchmark, cudnn.deterministic = False, True
        yield
    finally:
        cudnn.benchmark, cudnn.deterministic = before


@contextmanager
def global_random_state_kept() -> Iterator[None]:
    """Keep PyTorch's global generators as they are, whatever a library inside seeds or draws."""
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices):
        yield


def finite_logits(net: nn.Module, x: Tensor) -> Tensor:
    """Run the network and refuse logits that no evaluation can count.

    Args:
        net: maps (B, *in) to logits (B, C).
        x: pixels, (B, *in).

    Returns:
        The logits, (B, C).

    Raises:
        EvaluationError: if the output is not (B, C) or not finite.
    """
    logits: Tensor = net(x)
    if logits.ndim != 2 or len(logits) != len(x):
        raise EvaluationError(
            f"the network gives {(*logits.shape,)} for {len(x)} images, not one row of logits each"
        )
    if not torch.isfinite(logits).all():
        raise EvaluationError(
            "the network's logits are not all finite; a run that diverged cannot be evaluated"
        )
    return logits


@torch.no_grad()
def is_correct(net: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Return which samples the network classifies as their label, (B,) bool; of equal logits the first class wins."""
    return finite_logits(net, x).argmax(dim=1) == y
