"""Normalisation written in plain operations, where PyTorch's own has a wrong third derivative.

J v is a derivative of a derivative, so that its gradient is a third one. That of PyTorch's ``layer_norm`` and
``instance_norm`` disagrees with finite differences, without a word (2.14); that of ``group_norm`` and
``rms_norm`` agrees.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode


class CompositeNorms(TorchFunctionMode):
    """Replace both functions, inside, by what they compute."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in (F.layer_norm, torch.layer_norm):
            return _layer_norm(*args, **kwargs)
        if func is F.instance_norm and kwargs.get("use_input_stats", True):
            if kwargs.get("running_mean") is not None:
                with torch.no_grad():  # for its update of the running statistics
                    func(*args, **kwargs)
            return _instance_norm(*args, **kwargs)
        return func(*args, **kwargs)


def _layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    *_: bool,
    **_cudnn: bool,
) -> Tensor:
    y = _normalised(input, list(range(-len(normalized_shape), 0)), eps)
    y = y if weight is None else y * weight
    return y if bias is None else y + bias


def _instance_norm(
    input: Tensor,
    *,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    **_statistics: Any,
) -> Tensor:
    y = _normalised(input, list(range(2, input.ndim)), eps)
    of_channels = (-1, *[1] * (input.ndim - 2))
    y = y if weight is None else y * weight.view(of_channels)
    return y if bias is None else y + bias.view(of_channels)


def _normalised(x: Tensor, dims: list[int], eps: float) -> Tensor:
    wide = x.float() if x.dtype.itemsize < 4 else x
    centred = wide - wide.mean(dims, keepdim=True)
    return (centred * (centred.square().mean(dims, keepdim=True) + eps).rsqrt()).to(x.dtype)
