"""Explicit training steps: the loss and all its gradients by hand, each pass and each product once, no autograd graph.

`docs/passes.md` derives every step in the papers' notation. With y_{i-1} what enters layer i in the forward pass, dy_i
the loss's adjoint of what leaves it, and ỹ_{i-1}, u_i the same of a forward and a backward mode,

    ∂(CE + ⟨u, J v⟩)/∂W_i = y_{i-1}ᵀ dy_i + ỹ_{i-1}ᵀ u_i = [y_{i-1}; ỹ_{i-1}]ᵀ [dy_i; u_i]

is one product of matrices, and with u = dy one of half the size, (y_{i-1} + ỹ_{i-1})ᵀ dy_i.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from jacexp.errors import ConfigError, NoRuleError
from jacexp.jacobian.graph import program_of
from jacexp.jacobian.step import Objective, Step
from jacexp.jacobian.terms import Terms


def has_explicit_steps(net: nn.Module) -> bool:
    """Return whether every layer of a network has a rule, and all are piecewise linear."""
    try:
        return all(rule.piecewise_linear for rule in program_of(net).bind(net))
    except NoRuleError:
        return False


def why_not_stacked(net: nn.Module) -> str | None:
    """Return why networks of this kind cannot be trained as one stack; None if they can."""
    try:
        program = program_of(net)
        program.rules(stacked=True)
        curved = [rule for rule in program.bind(net) if not rule.piecewise_linear]
    except NoRuleError as error:
        return str(error)
    return f"{type(curved[0]).__name__} is not piecewise linear" if curved else None


def value_and_grads(
    net: nn.Module, x: Tensor, y: Tensor, objective: Objective, *, n_networks: int | None = None
) -> tuple[Terms, dict[str, Tensor]]:
    """Compute an objective and its gradients by explicit passes, without an autograd graph.

    A pure function of the tensors that ``net`` holds, which may be those of a stack of N networks.

    Args:
        net: a network of layers with rules, (B, *in) -> (B, C), for example ``Network.body``.
        x: the batch, (B, *in).
        y: its labels, (B,), int64.
        objective: what is minimised, mean over samples of ``objective.loss``.
        n_networks: N, if ``net`` is the body of a ``jacexp.methods.stacked_network.StackedNetwork``: the rows of x and
            y are then those of network after network, (N · B, ...), and the losses are (N,).

    Returns:
        The loss and its parts, and the gradient of the loss for each name of ``net.named_parameters()``.

    Raises:
        NoRuleError: for a layer without a rule.
        ConfigError: for one that is not piecewise linear, or y that are no classes of the network.
    """
    with torch.no_grad():
        parts, gradients = _run(net, x, y, objective, n_networks)
        grads = {
            name: gradients[id(p)].to(p.dtype) if id(p) in gradients else torch.zeros_like(p)
            for name, p in net.named_parameters()
        }
    return parts, grads


def explicit_loss(net: nn.Module, x: Tensor, y: Tensor, objective: Objective) -> Terms:
    """Compute an objective by explicit passes, as a loss whose ``backward`` gives the parameters their gradients.

    All work is done here, in the forward pass; ``loss.backward()`` multiplies the gradients that are ready by the
    scale of the loss. So accumulation, clipping, gradient scaling and DDP's hooks see an ordinary loss. It can be
    differentiated once, not twice. Under autocast the passes run in its type, cross-entropy and norms in float32.

    Args:
        net: a network of layers with rules, (B, *in) -> (B, C), for example ``Network.body``.
        x: the batch, (B, *in).
        y: its labels, (B,), int64.
        objective: what is minimised, mean over samples of ``objective.loss``.

    Returns:
        The loss and its parts.

    Raises:
        NoRuleError: for a layer without a rule.
        ConfigError: for one that is not piecewise linear, y that are no classes of the network, or float16, which needs
            gradient scaling inside the passes.
    """
    parameters = [p for p in net.parameters() if p.requires_grad]
    return Terms(*_Explicit.apply(net, x, y, objective, *parameters))


class _Explicit(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, net: nn.Module, x: Tensor, y: Tensor, objective: Objective, *parameters: Tensor
    ) -> Any:
        parts, gradients = _run(net, x, y, objective)
        ctx.gradients = [gradients[id(p)].to(p.dtype) if id(p) in gradients else None for p in parameters]
        ctx.mark_non_differentiable(*parts[1:])
        return tuple(parts)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, scale: Tensor, *_: Tensor) -> Any:
        if ctx.gradients is None:
            raise RuntimeError("the gradients of an explicit loss are gone after its backward pass")
        gradients, ctx.gradients = ctx.gradients, None
        if scale.device.type != "cpu" or scale != 1:  # a comparison on a GPU would wait for it
            torch._foreach_mul_([g for g in gradients if g is not None], scale)
        return None, None, None, None, *gradients


def _run(
    net: nn.Module, x: Tensor, y: Tensor, objective: Objective, n_networks: int | None = None
) -> tuple[Terms, dict[int, Tensor]]:
    with _one_precision(x) as dtype:
        step = Step(net, x.to(dtype), y, n_networks=n_networks, move_statistics=objective.clean)
        penalty = objective.run(step)
    losses = objective.loss(step.cross_entropy, penalty)
    loss = losses.mean() if n_networks is None else losses.view(n_networks, -1).mean(dim=1)
    return Terms(loss, step.cross_entropy, penalty, step.lin.logits), step.gradients


@contextmanager
def _one_precision(x: Tensor) -> Iterator[torch.dtype]:
    """Run the passes in one type, autocast's where it is on; the rules convert weights to it themselves."""
    device = x.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype
    if dtype == torch.float16:
        raise ConfigError(
            "explicit steps do not scale gradients for float16; use bf16-mixed or engine=autograd"
        )
    with torch.autocast(device, enabled=False):
        yield dtype
