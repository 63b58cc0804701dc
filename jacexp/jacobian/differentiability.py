"""Which layer of a network PyTorch cannot differentiate twice, found before a step is taken.

PyTorch itself says so in the middle of ``backward``, and names an operation of its own, not the layer.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor, nn
from torch._C._functorch import peek_interpreter_stack
from torch.utils._pytree import tree_leaves

from jacexp.errors import ConfigError

DEAD_ENDS = ("NotImplemented", "torch::autograd::NotImplemented", "torch::autograd::Error")
"""The nodes of a graph that stand for a derivative that nobody wrote."""

REASONS = ("autograd.Function", "is not implemented", "doesn't have storage")
"""What PyTorch's errors say of a layer that ``torch.func`` cannot differentiate."""

_passed: WeakSet[nn.Module] = WeakSet()


def require_second_derivative(net: nn.Module, x: Tensor, product: Tensor) -> None:
    """Check, once a network, that a Jacobian product of it can be differentiated.

    Args:
        net: the network.
        x: its batch.
        product: J v or Jᵀu, with its graph.

    Raises:
        ConfigError: naming the layer that cannot be differentiated twice.
    """
    if net in _passed or not torch.is_grad_enabled() or peek_interpreter_stack() is not None:
        return
    if product.grad_fn is not None:
        ends = _has_dead_end(product.grad_fn)
    else:  # a frozen network, or a layer that cuts the graph
        ends = any(p.requires_grad for p in net.parameters()) and bool(_first_failing(net, x)[1])
    if ends:
        raise ConfigError(_refusal(net, x, "it has no second derivative in PyTorch"))
    _passed.add(net)


def _has_dead_end(node: Any) -> bool:
    left = [node]
    seen = set(left)
    while left:
        node = left.pop()
        if node.name() in DEAD_ENDS:
            return True
        following = {f for f, _ in node.next_functions if f is not None} - seen
        seen |= following
        left.extend(following)
    return False


@contextmanager
def named_layers(net: nn.Module, x: Tensor) -> Iterator[None]:
    """Turn PyTorch's errors about missing derivatives into one that names the layer.

    Raises:
        ConfigError: naming the layer and PyTorch's reason.
        RuntimeError: PyTorch's own, about anything else.
    """
    try:
        yield
    except RuntimeError as error:
        reason = str(error).splitlines()[0] if str(error) else ""
        if not any(words in reason for words in REASONS):
            raise
        raise ConfigError(_refusal(net, x, reason)) from error


def _refusal(net: nn.Module, x: Tensor, reason: str) -> str:
    name, found = _first_failing(net, x)
    advice = (
        "run its attention under sdpa_kernel(SDPBackend.MATH)"
        if "attention" in found
        else "write it with operations that PyTorch differentiates twice, or register a rule for the passes engine"
    )
    return f"the Jacobian of {name} cannot be trained through: {found or reason}; {advice}"


def _first_failing(net: nn.Module, x: Tensor) -> tuple[str, str]:
    """Find the innermost layer that fails, and PyTorch's reason."""
    trial = copy.deepcopy(net)
    calls: dict[str, tuple[Any, ...]] = {}
    with torch.no_grad():
        for name, m in trial.named_modules():
            m.register_forward_pre_hook(lambda _, args, name=name: calls.setdefault(name, args) and None)
        trial(x)
    for name, m in reversed(list(trial.named_modules())):
        m._forward_pre_hooks.clear()
        if name in calls:
            try:
                _differentiate_twice(m, calls[name])
            except RuntimeError as error:
                return f"{type(m).__name__} ({name or 'the network'})", str(error).splitlines()[0]
    return type(net).__name__, ""


def _differentiate_twice(layer: nn.Module, args: tuple[Any, ...]) -> None:
    inputs = [n for n, a in enumerate(args) if isinstance(a, Tensor) and a.is_floating_point()]

    def outputs(*x: Tensor) -> tuple[Tensor, ...]:
        replaced = dict(zip(inputs, x, strict=True))
        leaves = tree_leaves(layer(*(replaced.get(n, a) for n, a in enumerate(args))))
        return tuple(t for t in leaves if isinstance(t, Tensor) and t.is_floating_point())

    with torch.enable_grad():
        x = [args[n].detach().requires_grad_() for n in inputs]
        y, pull = torch.func.vjp(outputs, *x)  # type: ignore[misc]  # a third value comes with has_aux alone
        products = pull(tuple(torch.ones_like(t, requires_grad=True) for t in y))
        total = torch.stack([g.square().sum() for g in products]).sum()
        if total.requires_grad:
            total.backward()
