"""The autograd engine: Jacobian products of any module by reverse-mode differentiation.

Jᵀu is a backward pass. J v is a backward pass through that backward pass, since u -> Jᵀu is linear with transpose J:
the graph with all edges flipped of Johansson et al., section 3.2 and appendix C.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.modules.batchnorm import _BatchNorm

from jacexp.jacobian.composite import CompositeNorms
from jacexp.jacobian.differentiability import named_layers, require_second_derivative
from jacexp.jacobian.shapes import require_batch, require_logits, require_vector
from jacexp.jacobian.statistics import frozen, recorded_statistics, uses_batch_statistics


class AutogradLinearization:
    """The linearisation of any module at a batch. See `jacexp.jacobian.linearize.Linearization`."""

    def __init__(self, net: nn.Module, x: Tensor) -> None:
        """Run the forward pass; a second one, with frozen statistics, only where batch norm uses the batch's own.

        Raises:
            ConfigError: for a batch that is no tensor of floats, or an output that is not (B, C).
        """
        require_batch(x)
        self.net, self.x = net, x

        def logits(x: Tensor) -> Tensor:
            return require_logits(net(x), x)

        norms = [m for m in net.modules() if isinstance(m, _BatchNorm) and uses_batch_statistics(m)]
        # The fused attention kernels have no second derivative; the plain one has.
        with sdpa_kernel(SDPBackend.MATH), CompositeNorms(), named_layers(net, x):
            if norms:
                rng = _RandomState(x)
                with recorded_statistics(norms) as statistics:
                    self.logits = logits(x)
                with rng.replayed(), frozen(statistics):
                    self._pull = pullback(logits, x)[1]
            else:
                self.logits, self._pull = pullback(logits, x)

    def vjp(self, u: Tensor) -> Tensor:
        """Jᵀu, (B, C) -> (B, *in)."""
        require_vector("u", u, self.logits)
        product = self._pull(u)
        require_second_derivative(self.net, self.x, product)
        return product

    def jvp(self, v: Tensor) -> Tensor:
        """J v, (B, *in) -> (B, C)."""
        require_vector("v", v, self.x)
        # At u = 0 as anywhere else: the map is linear in u.
        with named_layers(self.net, self.x):
            _, push = pullback(self._pull, torch.zeros_like(self.logits))
            product = push(v)
        require_second_derivative(self.net, self.x, product)
        return product


def pullback(f: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """Compute f(x) and return with it the map u -> Jᵀu at x, both differentiable once more."""
    value, transpose = torch.func.vjp(f, x)  # type: ignore[misc]  # a third value comes with has_aux alone
    return value, lambda u: transpose(u)[0]


class _RandomState:
    """The state of the global generators, so that a second forward pass draws the first one's dropout masks."""

    def __init__(self, x: Tensor) -> None:
        self.device = x.device if x.is_cuda else None
        self.before = self._get()

    def _get(self) -> tuple[Tensor, Tensor | None]:
        return torch.get_rng_state(), torch.cuda.get_rng_state(self.device) if self.device else None

    def _set(self, state: tuple[Tensor, Tensor | None]) -> None:
        torch.set_rng_state(state[0])
        if state[1] is not None:
            torch.cuda.set_rng_state(state[1], self.device)  # type: ignore[arg-type]

    @contextmanager
    def replayed(self) -> Iterator[None]:
        """Restore the recorded state inside, and afterwards the state that the generators had before."""
        after = self._get()
        self._set(self.before)
        try:
            yield
        finally:
            self._set(after)
