"""The rules of the passes engine: what each layer does in forward, forward-mode and backward-mode.

A rule reads like Tables 2 to 4 of Johansson et al. (appendix B). For a layer y = G(x), piecewise linear, with
parameters W and b that enter linearly:

| function    | computes              | Johansson et al.    | Demyanov et al.               |
|-------------|-----------------------|---------------------|-------------------------------|
| `forward`   | y = G(x)              | forward-pass (G)    | first pass                    |
| `tangent`   | F v, bias off         | forward-mode (F)    | third pass, dỹ_i = dỹ_{i-1} w |
| `transpose` | Fᵀu                   | backward-mode (Fᵀ)  | second pass, dy_{i-1}         |
| `weight`    | ∂⟨u, F v⟩/∂W          | –                   | dw̃_i = dỹ_{i-1}ᵀ dy_i (2, 16) |

One instance is one layer linearised at one batch: `forward` keeps what the other three need (which neurons are on,
where the maxima were, the dropout mask). v and u may hold k vectors a sample, stacked along the batch as (k · B, ...).
"""

from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor, nn


class Rule:
    """One layer without parameters, linearised at one batch. Subclass it for a layer of one's own.

    Args:
        layer: the module, whose settings and tensors are read once, when the pass begins.
    """

    piecewise_linear: ClassVar[bool] = True
    """False if F depends on the parameters beyond ∂⟨u, F v⟩/∂W, as for a smooth activation. ``engine="passes"``
    differentiates such rules rightly; the explicit training steps refuse them."""

    parameters: tuple[Tensor | None, ...] = ()
    """The layer's own parameters, in the order of what `gradients` returns."""

    coupled: bool = False
    """Whether the loss sees more of the layer than its linearisation does, as in train-mode batch norm. From there on
    the adjoints of the loss and of a Jacobian product of the same vector are not the same."""

    selects: ClassVar[bool] = False
    """Whether the layer only selects maxima. It then commutes with a rectifier, and goes first."""

    rectifies: ClassVar[bool] = False
    """Whether it is max(x, 0), which moves behind a layer that selects; a subclass does not inherit that."""

    move_statistics: bool = True
    """Whether `forward` moves the layer's running statistics, if it has any and trains."""

    def __init__(self, layer: Any) -> None:
        """Read the layer."""

    def forward(self, x: Tensor, /) -> Tensor:
        """Compute y = G(x) and keep what the passes need."""
        raise NotImplementedError

    def tangent(self, v: Tensor, /) -> Tensor:
        """Compute F v, the derivative of `forward` in the direction v."""
        raise NotImplementedError

    def transpose(self, u: Tensor, /) -> Any:
        """Compute Fᵀu, so that ⟨u, F v⟩ = ⟨Fᵀu, v⟩; a tuple for a layer with several inputs."""
        raise NotImplementedError

    def backward(self, u: Tensor, n: int, shared: bool) -> Any:  # noqa: ARG002  # only batch norm needs to know
        """Compute the gradient of the loss for the first n rows of u, Fᵀu for the others.

        They differ only in a `coupled` layer.

        Args:
            u: adjoints of the output; the first n rows belong to the loss, any others to Jacobian products.
            n: 0 or the batch size.
            shared: whether the loss's rows are all there is and stand for the Jacobian product of the same vector too;
                a `coupled` layer returns both, 2n rows.

        Returns:
            The adjoints of the input; a tuple for a layer with several inputs.
        """
        return self.transpose(u)

    def gradients(
        self, x: Tensor, v: list[Tensor], u: list[Tensor], scale: float = 1, shared: bool = False
    ) -> tuple[Tensor | None, ...]:
        """Compute scale times the gradients of ⟨dy, G(x)⟩ + Σ_j ⟨u_j, F v_j⟩ by `parameters`, summed over samples.

        Args:
            x: the layer's input, (B, ...).
            v: tangents that entered the layer, kB rows in all.
            u: adjoints of its output: B rows of the loss, dy, and then a row for each of v.
            scale: a factor, 1/B for a mean.
            shared: whether u is dy alone, which v's adjoints are too: both products share it, (x + v)ᵀ dy.
        """
        raise NotImplementedError


RuleType = TypeVar("RuleType", bound=type[Rule])
RULES: dict[type[nn.Module], type[Rule]] = {}
FUNCTIONS: dict[Any, Callable[..., nn.Module]] = {}
STACKED: dict[type[Rule], type[Rule]] = {}
"""The rules that differ in a stack of networks; all other layers must be without parameters."""


def register_rule(*layers: type[nn.Module]) -> Callable[[RuleType], RuleType]:
    """Make a rule that of some layer types; a decorator of `Rule` subclasses.

    A rule belongs to exactly these types: a subclass may compute something else, so it needs a rule of its own.

    Args:
        layers: module classes. The walk does not look inside them.

    Returns:
        The decorator.

    Example:
        >>> class Double(torch.nn.Module):
        ...     def forward(self, x):
        ...         return 2 * x
        >>> @register_rule(Double)
        ... class DoubleRule(Rule):
        ...     def forward(self, x):
        ...         return 2 * x
        ...     tangent = transpose = forward
    """

    def register(rule: RuleType) -> RuleType:
        RULES.update(dict.fromkeys(layers, rule))
        return rule

    return register


def register_function(*functions: Any) -> Callable[[Callable[..., nn.Module]], Callable[..., nn.Module]]:
    """Register which module a function in somebody's ``forward`` amounts to; a decorator.

    Args:
        functions: functions (``torch.relu``) or names of tensor methods (``"relu"``).

    Returns:
        The decorator of a function that takes the call's arguments after the tensors and returns the module.
    """

    def register(make: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
        FUNCTIONS.update(dict.fromkeys(functions, make))
        return make

    return register


def per_sample(v: Tensor, batch: int) -> Tensor:
    """Unflatten k vectors a sample to (k, B, ...), over which what was kept for each sample broadcasts."""
    return v if v.shape[0] == batch else v.unflatten(0, (-1, batch))


def as_rows(v: Tensor, ndim: int) -> Tensor:
    """Undo `per_sample`: (k, B, ...) to the rows (k · B, ...)."""
    return v if v.ndim == ndim else v.flatten(0, 1)


def joined(tensors: list[Tensor]) -> Tensor:
    """Concatenate along the batch, without a copy if there is nothing to join."""
    return tensors[0] if len(tensors) == 1 else torch.cat(tensors)
