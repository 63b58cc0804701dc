"""The passes engine: Jacobian products by the papers' explicit passes (Johansson et al., Algorithm 1)."""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch._C._functorch import peek_interpreter_stack

from jacexp.jacobian.graph import program_of
from jacexp.jacobian.shapes import require_batch, require_logits, require_vector

Seen = Callable[[int, Tensor], None]


class PassesLinearization:
    """The linearisation of a network of layers with rules. See `jacexp.jacobian.linearize.Linearization`.

    `jvp` is the forward mode J v = W^L Z^{L-1} ... Z^1 W^1 v, `vjp` the backward mode Jᵀu (Johansson et al., Eqs. 6
    and 7): the layers again, without biases and with the activation pattern of the one forward pass. Both are made of
    differentiable operations. k vectors a sample may be stacked, (k · B, ...).
    """

    def __init__(
        self,
        net: nn.Module,
        x: Tensor,
        seen: Seen | None = None,
        *,
        move_statistics: bool = True,
        stacked: bool = False,
    ) -> None:
        """Run the forward pass.

        Args:
            net: the network.
            x: the batch, (B, *in).
            seen: told the number and the input of each step with parameters.
            move_statistics: whether train-mode batch norm moves its running statistics.
            stacked: whether the parameters are those of several networks; see `jacexp.jacobian.rules.stacked`.

        Raises:
            NoRuleError: for a layer without a rule.
            ConfigError: for a batch that is no tensor of floats, or an output that is not (B, C).
        """
        require_batch(x)
        self.x = x
        self.program = program_of(net)
        self.rules = self.program.bind(net, stacked=stacked)
        for rule in self.rules:
            rule.move_statistics = move_statistics
        logits = self.program.sweep([rule.forward for rule in self.rules], fast_layout(x), seen)
        self.logits = require_logits(logits, x)

    def jvp(self, v: Tensor) -> Tensor:
        """J v, (B, *in) -> (B, C). The forward mode."""
        require_vector("v", v, self.x, several=True)
        return self.forward(v)

    def vjp(self, u: Tensor) -> Tensor:
        """Jᵀu, (B, C) -> (B, *in). The backward mode."""
        require_vector("u", u, self.logits, several=True)
        return self.backward(u)

    def forward(self, v: Tensor, seen: Seen | None = None) -> Tensor:
        """Run from the input to the logits: forward mode.

        Args:
            v: vectors at the input, (k · B, *in).
            seen: told the number and what enters each step with parameters.

        Returns:
            J v, (k · B, C).
        """
        return self.program.sweep([rule.tangent for rule in self.rules], v, seen)

    def backward(
        self, u: Tensor, *, loss: bool = False, shared: bool = False, seen: Seen | None = None
    ) -> Tensor:
        """Run from the logits to the input: backward mode, alone or together with the loss's own backward pass.

        Args:
            u: vectors at the logits, (k · B, C).
            loss: whether the first B rows are the loss's gradient, which is not wanted at the input.
            shared: whether that gradient is all there is, and wanted as a Jacobian product too. See `Rule.backward`.
            seen: told the number and the adjoint of the output of each step with parameters.

        Returns:
            Jᵀu, without the rows that are the loss's alone.
        """
        product = self._pull(u, loss, shared, True, seen)
        # No path from the input to the logits means J = 0.
        return self.x.new_zeros(len(u), *self.x.shape[1:]) if product is None else product

    def adjoints(self, u: Tensor, seen: Seen, *, loss: bool = False) -> None:
        """Run `backward` as far as there are parameters, for what ``seen`` is told of it."""
        self._pull(u, loss, False, False, seen)

    @cached_property
    def apart(self) -> list[bool]:
        """For each value, whether a coupled layer comes after it, so that the loss and the Jacobian differ there."""
        apart = [False] * (len(self.rules) + 1)
        for number in reversed(range(len(self.rules))):
            for i in self.program.steps[number].inputs:
                apart[i] = apart[i] or apart[number + 1] or self.rules[number].coupled
        return apart

    def _pull(self, u: Tensor, loss: bool, shared: bool, to_input: bool, seen: Seen | None) -> Tensor | None:
        n = self.x.shape[0] if loss else 0
        upstream = self.program.upstream
        adjoints: dict[int, Tensor] = {len(self.rules): u}
        for number in reversed(range(len(self.rules))):
            if number + 1 not in adjoints:
                continue
            u = adjoints.pop(number + 1)
            if seen is not None and self.program.weighted[number]:
                seen(number, u)
            inputs, rule = self.program.steps[number].inputs, self.rules[number]
            before = shared and not self.apart[number + 1]  # the rows are still those of both
            after = before and not rule.coupled
            if any(upstream[i] for i in inputs):
                parts = _parts(rule.backward(u, n, before))
                if after:  # written out where another branch brings them apart
                    parts = [
                        torch.cat([p, p]) if upstream[i] and self.apart[i] else p
                        for i, p in zip(inputs, parts, strict=True)
                    ]
                else:
                    parts = [p if upstream[i] else p[n:] for i, p in zip(inputs, parts, strict=True)]
            elif to_input:  # the loss's gradient stops where no parameters are left
                parts = _parts(rule.transpose(u if before or not upstream[number + 1] else u[n:]))
            else:
                continue
            for i, part in zip(inputs, parts, strict=True):
                adjoints[i] = adjoints[i] + part if i in adjoints else part
        return adjoints.get(0) if to_input else None


def _parts(u: Any) -> Sequence[Tensor]:
    """Treat a layer with one input as one with a list of inputs."""
    return u if isinstance(u, tuple | list) else [u]


def fast_layout(x: Tensor) -> Tensor:
    """Convert images to the layout in which a CPU is fastest, channels last; not under vmap, which knows one."""
    if x.ndim == 4 and x.device.type == "cpu" and peek_interpreter_stack() is None:
        return x.to(memory_format=torch.channels_last)
    return x
