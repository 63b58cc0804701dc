"""The batch statistics of batch norm, which are constants to the Jacobian (Johansson et al., section 3.1)."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from jacexp.errors import ConfigError


def uses_batch_statistics(norm: _BatchNorm) -> bool:
    """Whether a batch-norm layer, as it stands, normalises by the statistics of the batch that it sees."""
    return norm.training or norm.running_mean is None


def batch_statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    """The mean and *biased* variance per channel that train-mode batch norm divides by: (B, C, ...) -> (C,), (C,).

    Returns:
        Both, in float32 at least, as batch norm itself computes them under autocast.
    """
    x = x.float() if x.dtype.itemsize < 4 else x
    dims = [d for d in range(x.ndim) if d != 1]
    variance, mean = torch.var_mean(x, dims, correction=0)
    return mean, variance


@contextmanager
def recorded_statistics(norms: list[_BatchNorm]) -> Iterator[dict[_BatchNorm, tuple[Tensor, Tensor]]]:
    """Record, as constants, the batch statistics that each layer meets in the passes inside."""
    statistics: dict[_BatchNorm, tuple[Tensor, Tensor]] = {}

    def record(norm: nn.Module, args: tuple[Tensor, ...]) -> None:
        if norm in statistics:
            raise ConfigError(
                "a batch-norm layer is used twice in one forward pass, so it has no single batch statistic; "
                "give each use a layer of its own"
            )
        statistics[norm] = batch_statistics(args[0].detach())  # type: ignore[index]  # keyed by the layer itself

    with ExitStack() as hooks:
        for norm in norms:
            hooks.enter_context(norm.register_forward_pre_hook(record))
        yield statistics


@contextmanager
def frozen(statistics: dict[_BatchNorm, tuple[Tensor, Tensor]]) -> Iterator[None]:
    """Make each batch-norm layer normalise by given constants and leave its running statistics alone."""
    for norm, (mean, variance) in statistics.items():
        norm.forward = partial(_normalise, norm, mean, variance)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for norm in statistics:
            del norm.forward


def _normalise(norm: _BatchNorm, mean: Tensor, variance: Tensor, x: Tensor) -> Tensor:
    return nn.functional.batch_norm(x, mean, variance, norm.weight, norm.bias, training=False, eps=norm.eps)
