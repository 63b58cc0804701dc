"""Explicit training steps: the loss and all its gradients by hand, each pass and each product once, no autograd graph.

`docs/passes.md` derives every step in the papers' notation. With y_{i-1} what enters layer i in the forward pass, dy_i
the loss's adjoint of what leaves it, and ỹ_{i-1}, u_i the same of a forward and a backward mode,

    ∂(CE + ⟨u, J v⟩)/∂W_i = y_{i-1}ᵀ dy_i + ỹ_{i-1}ᵀ u_i = [y_{i-1}; ỹ_{i-1}]ᵀ [dy_i; u_i]

is one product of matrices, and with u = dy one of half the size, (y_{i-1} + ỹ_{i-1})ᵀ dy_i.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from jacexp.errors import ConfigError
from jacexp.jacobian.linear import Weighted
from jacexp.jacobian.passes import PassesLinearization
from jacexp.jacobian.rules import NoRuleError
from jacexp.jacobian.shapes import require_classes, require_penalty
from jacexp.jacobian.walk import program_of


class Terms(NamedTuple):
    """The loss of one batch and what it is made of."""

    loss: Tensor
    """(), the mean over samples; (N,) of N stacked networks. Only this has a gradient."""
    cross_entropy: Tensor
    """(B,), of the clean images, one a sample."""
    penalty: Tensor
    """(B,), one a sample; () or (N,) where it belongs to the weights alone."""
    logits: Tensor
    """(B, C), of the clean images."""


class Objective:
    """What is minimised, with the passes that it takes. `jacexp.jacobian.objectives` has those of both papers."""

    clean: bool = True
    """Whether the images as they are belong to what is trained on, and so move batch norm's running statistics."""

    def run(self, step: "Step") -> Tensor:
        """Run the passes, hand each layer's adjoints and tangents to ``step``, give each sample's penalty, (B,)."""
        raise NotImplementedError

    def loss(self, cross_entropy: Tensor, penalty: Tensor) -> Tensor:
        """Give each sample's loss, (B,)."""
        raise NotImplementedError


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

    def add(self, number: int, tangents: list[Tensor], adjoints: list[Tensor]) -> None:
        """Add the gradients of the parameters of layer ``number``; see `Rule.gradients`."""
        rule = self.lin.rules[number]
        self._add(number, rule.gradients(self.inputs[number], tangents, adjoints, self.scale))

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


def has_explicit_steps(net: nn.Module) -> bool:
    """Say whether every layer of a network has a rule, and all are piecewise linear."""
    try:
        return all(rule.piecewise_linear for rule in program_of(net).bind(net))
    except NoRuleError:
        return False


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
        n_networks: N, if ``net`` is the body of a `jacexp.methods.stack.Stack`: the rows of x and y are then those of
            network after network, (N · B, ...), and the losses are (N,).

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
        penalty = require_penalty(type(objective).__name__, objective.run(step), step.cross_entropy.shape)
    losses = objective.loss(step.cross_entropy, penalty)
    loss = losses.mean() if n_networks is None else losses.view(n_networks, -1).mean(dim=1)
    return Terms(loss, step.cross_entropy, penalty, step.lin.logits), step.gradients


@contextmanager
def _one_precision(x: Tensor) -> Iterator[torch.dtype]:
    """Give the type of the passes, autocast's where it is on; the rules bring weights to it themselves."""
    device = x.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype
    if dtype == torch.float16:
        raise ConfigError(
            "explicit steps do not scale gradients for float16; use bf16-mixed or engine=autograd"
        )
    with torch.autocast(device, enabled=False):
        yield dtype
