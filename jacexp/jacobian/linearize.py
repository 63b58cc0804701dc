"""The one abstraction of jacexp: a network, linearised at a batch."""

from typing import Literal, Protocol, get_args, runtime_checkable

from torch import Tensor, nn

from jacexp.errors import ConfigError
from jacexp.jacobian.autograd import AutogradLinearization
from jacexp.jacobian.graph import has_rules
from jacexp.jacobian.passes import PassesLinearization

Engine = Literal["auto", "autograd", "passes"]


@runtime_checkable
class Linearization(Protocol):
    """A network at a batch x: its logits z(x) and the products with its Jacobian J = dz/dx.

    There is one Jacobian a sample, J_b = dz_b/dx_b, and both products act on each sample alone. Under train-mode
    batch normalisation J is that of the pseudo-inference network (Johansson et al., section 3.1): the batch's mean
    and biased variance are constants, so no sample enters the Jacobian of another.
    """

    x: Tensor
    """The batch, (B, *in)."""

    logits: Tensor
    """The output of the one forward pass, (B, C), differentiable with respect to the parameters."""

    def jvp(self, v: Tensor) -> Tensor:
        """Multiply by the Jacobian, J v: (B, *in) -> (B, C). The forward mode of Johansson et al., Eq. 6."""

    def vjp(self, u: Tensor) -> Tensor:
        """Multiply by its transpose, Jᵀu: (B, C) -> (B, *in). The backward mode of Johansson et al., Eq. 7."""


def linearize(net: nn.Module, x: Tensor, *, engine: Engine = "auto") -> Linearization:
    """Run a network once and keep what is needed to multiply by its Jacobian, z(x + v) = z(x) + J v + o(v).

    The products are differentiable with respect to the parameters (and u, v), right in every float type, and safe
    under ``torch.func.vmap`` over stacked parameters. The forward pass treats the network as an ordinary call would:
    train-mode batch norm normalises by the batch and moves its running statistics once, and dropout draws one mask,
    which both products share.

    Args:
        net: any module that maps (B, *in) to (B, C) and treats samples independently but for batch norm.
        x: the batch, (B, *in).
        engine: ``autograd`` for any module (the extension scheme of Johansson et al., section 3.2), ``passes`` for
            the papers' explicit passes, ``auto`` for ``passes`` where every layer has a rule, ``autograd`` elsewhere.

    Returns:
        The linearisation at x.

    Raises:
        ConfigError: for an unknown engine, a batch that is no tensor of floats, a network whose output is not (B, C),
            or, with ``engine="passes"``, a layer without a rule.

    Example:
        >>> import torch
        >>> net = torch.nn.Linear(3, 2, bias=False)
        >>> lin = linearize(net, torch.ones(1, 3))
        >>> torch.equal(lin.jvp(torch.eye(3)[:1]), net.weight[:, :1].T)
        True
    """
    if engine not in get_args(Engine):
        raise ConfigError(f"engine={engine!r} is unknown; choose auto, autograd or passes")
    if engine == "passes" or (engine == "auto" and has_rules(net)):
        return PassesLinearization(net, x)
    return AutogradLinearization(net, x)
