"""Which layer each function amounts to that networks call in their ``forward``."""

import operator
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from jacexp.jacobian.rules.base import register_function
from jacexp.jacobian.rules.pointwise import Add, Concatenate

register_function(operator.add, operator.iadd, torch.add, "add", "add_")(Add)
register_function(torch.cat, torch.concat, torch.concatenate)(Concatenate)
register_function(torch.flatten, "flatten")(nn.Flatten)
register_function(F.leaky_relu, F.leaky_relu_)(nn.LeakyReLU)
register_function(F.max_pool2d, torch.max_pool2d)(nn.MaxPool2d)
register_function(F.avg_pool2d)(nn.AvgPool2d)
register_function(F.adaptive_avg_pool2d)(nn.AdaptiveAvgPool2d)
register_function(F.adaptive_max_pool2d)(nn.AdaptiveMaxPool2d)


@register_function(torch.relu, torch.relu_, F.relu, F.relu_, "relu", "relu_")
def _relu(inplace: bool = False) -> nn.Module:
    return nn.ReLU(inplace)


@register_function(F.dropout)
def _dropout(p: float = 0.5, training: bool = True, inplace: bool = False) -> nn.Module:
    return nn.Dropout(p, inplace).train(training)


@register_function(F.pad)
def _pad(pad: Any, mode: str = "constant", value: float | None = None) -> nn.Module:
    if mode != "constant":
        raise TypeError(f"mode={mode!r}")
    return nn.ConstantPad2d(tuple(pad), value or 0)


@register_function("view", "reshape", torch.reshape)
def _view(*shape: Any) -> nn.Module:
    sizes = shape[0] if len(shape) == 1 and isinstance(shape[0], tuple | list) else shape
    # A batch size is a node of the graph, which no number can be; anything longer would part what was joined.
    if len(sizes) != 2 or (isinstance(sizes[0], int) and sizes[0] != -1):
        raise TypeError(f"shape={sizes}")
    return nn.Flatten()
