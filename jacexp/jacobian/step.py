"""Explicit training steps: the loss and all its gradients by hand, each pass and each product once, no autograd graph.

`docs/passes.md` derives every step in the papers' notation. With y_{i-1} what enters layer i in the forward pass, dy_i
the loss's adjoint of what leaves it, and ỹ_{i-1}, u_i the same of a forward and a backward mode,

    ∂(CE + ⟨u, J v⟩)/∂W_i = y_{i-1}ᵀ dy_i + ỹ_{i-1}ᵀ u_i = [y_{i-1}; ỹ_{i-1}]ᵀ [dy_i; u_i]

is one product of matrices, and with u = dy one of half the size, (y_{i-1} + ỹ_{i-1})ᵀ dy_i.

A pass is written as what it is told to do with each layer: ``add`` hands a layer's tangents and adjoints over as soon
as both are there, so that nothing is kept longer than it must be. Rows of several vectors go through one pass together,
[dy; u]; strengths multiply the vector at the start of a pass, where it is smallest.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from jacexp.errors import ConfigError
from jacexp.jacobian.passes import PassesLinearization
from jacexp.jacobian.rules.base import as_rows, per_sample
from jacexp.jacobian.rules.weighted import Weighted
from jacexp.jacobian.shapes import require_classes
from jacexp.jacobian.terms import Terms

Factor = float | Tensor
"""A number, or a tensor (B,), one a sample, since stacked networks differ in theirs."""

Passed = dict[int, Tensor]
"""What entered the steps with parameters, or came back to them, in one pass."""


class Step:
    """A batch on its way through the passes of an objective: the linearised network and the gradients so far.

    The passes hold each sample's own vectors; the gradients are means over samples.
    """

    def __init__(
        self,
        net: nn.Module,
        x: Tensor,
        y: Tensor,
        *,
        n_networks: int | None = None,
        move_statistics: bool = True,
    ) -> None:
        """Run the forward pass.

        Args:
            net: a network of layers with rules.
            x: the batch, (B, *in); (N · B, *in) of N stacked networks.
            y: its labels, (B,).
            n_networks: N, if ``net`` is the body of a stack.
            move_statistics: whether train-mode batch norm moves its running statistics.

        Raises:
            ConfigError: for a layer whose rule does not say all about its derivatives, or y that are no classes.
        """
        require_classes(y, x)
        self.net, self.y, self.n_networks, self.scale = net, y, n_networks, (n_networks or 1) / len(y)
        self.inputs: dict[int, Tensor] = {}
        self.gradients: dict[int, Tensor] = {}
        stacked = n_networks is not None
        self.lin = PassesLinearization(
            net, x, self.inputs.__setitem__, move_statistics=move_statistics, stacked=stacked
        )
        for rule in self.lin.rules:
            if not rule.piecewise_linear:
                raise ConfigError(
                    f"{type(rule).__name__} is not piecewise linear: explicit steps would miss terms"
                )
        log_p = self.lin.logits.double() if x.dtype == torch.float64 else self.lin.logits.float()
        log_p = log_p.log_softmax(dim=1)
        self.cross_entropy = -_of_class(log_p, y)
        """−log p_y, (B,)."""
        self.p = log_p.exp()
        """softmax(z), (B, C)."""
        self.dy = self.p.scatter_add(1, y[:, None], -torch.ones_like(log_p[:, :1])).to(x.dtype)
        """p − onehot(y), the gradient of each sample's own cross-entropy at its logits, (B, C)."""

    def again(self, x: Tensor, *, move_statistics: bool) -> "Step":
        """Run the forward pass at other images of the same classes."""
        return Step(self.net, x, self.y, n_networks=self.n_networks, move_statistics=move_statistics)

    def add(
        self, number: int, tangents: list[Tensor], adjoints: list[Tensor], *, shared: bool = False
    ) -> None:
        """Add the gradients of the parameters of layer ``number``; see `Rule.gradients`."""
        rule = self.lin.rules[number]
        self._add(number, rule.gradients(self.inputs[number], tangents, adjoints, self.scale, shared))

    def add_with(self, star: "Step", number: int, dy: Tensor | None, dy_star: Tensor) -> None:
        """Add the gradients of the loss at a second batch y*, and with dy those at this one: [y; y*]ᵀ[dy; dy*]."""
        rule, rule_star = self.lin.rules[number], star.lin.rules[number]
        x, x_star = self.inputs[number], star.inputs[number]
        if dy is None:
            self._add(number, rule_star.gradients(x_star, [], [dy_star], self.scale))
        elif isinstance(rule, Weighted):
            self._add(
                number, rule.gradients(torch.cat([x, x_star]), [], [torch.cat([dy, dy_star])], self.scale)
            )
        else:
            self._add(number, rule.gradients(x, [], [dy], self.scale))
            self._add(number, rule_star.gradients(x_star, [], [dy_star], self.scale))

    def _add(self, number: int, gradients: tuple[Tensor | None, ...]) -> None:
        for parameter, gradient in zip(self.lin.rules[number].parameters, gradients, strict=True):
            if parameter is not None and gradient is not None:
                known = self.gradients.get(id(parameter))
                self.gradients[id(parameter)] = gradient if known is None else known + gradient


def _of_class(log_p: Tensor, y: Tensor) -> Tensor:
    try:
        return log_p.gather(1, y[:, None])[:, 0]
    except RuntimeError as error:  # to look for it before would make a GPU wait
        if "out of bounds" not in str(error):
            raise
        raise ConfigError(f"y has classes beyond the network's, 0 to {log_p.shape[1] - 1}") from None


@dataclass(frozen=True)
class Objective:
    """What is minimised, the mean over samples of ``loss``, with the passes that compute it and its gradient."""

    run: Callable[[Step], Tensor]
    """Runs the passes, hands each layer's adjoints and tangents to the step, and returns the penalty, (B,)."""
    loss: Callable[[Tensor, Tensor], Tensor]
    """Computes each sample's loss, (B,), from its cross-entropy and penalty."""
    clean: bool = True
    """Whether the images as they are belong to what is trained on, and so move batch norm's running statistics."""


def _plain_passes(step: Step) -> Tensor:
    """F, Bx, Bw: the second pass of Demyanov et al., Algorithm 1."""
    step.lin.adjoints(step.dy, lambda i, dy: step.add(i, [], [dy]), loss=True)
    return torch.zeros_like(step.cross_entropy)


PLAIN = Objective(_plain_passes, lambda cross_entropy, _: cross_entropy)
"""CE alone."""


def along(strength: Factor, x: Tensor) -> Factor:
    """Shape a strength so that it broadcasts over x, (B, ...)."""
    return (
        strength.view(-1, *[1] * (x.ndim - 1)) if isinstance(strength, Tensor) and strength.ndim else strength
    )


def scaled(w: Tensor, strength: Factor) -> Tensor:
    """Multiply k vectors a sample, (k · B, ...), by a strength."""
    if not isinstance(strength, Tensor) or strength.ndim == 0:
        return w * strength
    return as_rows((per_sample(w, len(strength)) * along(strength, w)).to(w.dtype), w.ndim)


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
