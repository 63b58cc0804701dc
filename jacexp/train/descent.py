"""How the weights of a stack of networks follow their gradients: each network as its optimiser would alone."""

import copy
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from jacexp.methods.stacked_network import StackedNetwork
from jacexp.train.module import RegularizedModule


class Descent(Protocol):
    """The optimisers of N networks. What is recorded of a step (see `replay`) ends with `add`."""

    changed: list[Tensor]
    """The tensors that `add` changes in place, (N, ...)."""

    def begin_epoch(self, epoch: int, alive: Sequence[bool]) -> None:
        """Set the epoch's learning rates; of a network that has diverged, 0."""

    def add(self, gradient: Tensor) -> None:
        """Copy gradients (N, P) in, without asking the host for anything."""

    def step(self) -> None:
        """Do what is left of a step, on the host."""

    def end(self, n: int) -> None:
        """Let network n stand still from now on."""

    def state(self, n: int) -> dict[str, Any]:
        """Copy what `RegularizedModule.state` holds of the optimiser of network n."""

    def load_state(self, n: int, state: dict[str, Any]) -> None:
        """Restore what `state` copied."""


class PapersDescent:
    """v_n <- m_n v_n + g_n, w_n <- w_n − α_n v_n, with each network's learning rate α_n and momentum m_n."""

    def __init__(self, modules: Sequence[RegularizedModule], stack: StackedNetwork) -> None:
        """Train the weights of a stack, that of these methods."""
        self.recipes, self.weights = [m.recipe for m in modules], stack.weights
        self.velocity = torch.zeros_like(self.weights)
        self.momentum = self.weights.new_tensor([r.momentum for r in self.recipes])[:, None]
        self.step_size = torch.zeros_like(self.momentum)
        self.changed = [self.weights, self.velocity]

    def begin_epoch(self, epoch: int, alive: Sequence[bool]) -> None:
        """Set the epoch's learning rates; of a network that has diverged, 0."""
        sizes = zip([r.step_size(epoch) for r in self.recipes], alive, strict=True)
        self.step_size.copy_(self.step_size.new_tensor([[size if lives else 0.0] for size, lives in sizes]))

    def add(self, gradient: Tensor) -> None:
        """Take a step."""
        self.velocity.mul_(self.momentum).add_(gradient)
        self.weights.addcmul_(self.velocity, self.step_size, value=-1)

    def step(self) -> None:
        """Do nothing: the step is taken."""

    def end(self, n: int) -> None:
        """Let network n stand still at zero."""
        self.weights[n] = self.velocity[n] = self.step_size[n] = 0  # where it is finite

    def state(self, n: int) -> dict[str, Any]:
        """Copy the velocity of network n."""
        return {"velocity": self.velocity[n].clone()}

    def load_state(self, n: int, state: dict[str, Any]) -> None:
        """Restore the velocity of network n."""
        self.velocity[n].copy_(state["velocity"])


class SharedOptimizer:
    """One of PyTorch's optimisers over the parameters of all networks, which are views of the stack's weights.

    Networks with equal settings are one group of parameters, so that their tensors go through one call. That is what
    each would do alone as long as the optimiser is elementwise.
    """

    def __init__(self, modules: Sequence[RegularizedModule], stack: StackedNetwork) -> None:
        """Train the weights of a stack, that of these methods."""
        self.modules, self.weights = list(modules), stack.weights
        self.gradient = torch.zeros_like(self.weights)
        self.changed = [self.gradient]
        self.parameters = [list(m.net.body.parameters()) for m in modules]
        for own, row in zip(self.parameters, self.gradient, strict=True):
            for p, part in zip(own, row.split([p.numel() for p in own]), strict=True):
                p.grad = part.view_as(p)
        members: dict[str, list[int]] = defaultdict(list)
        for n, m in enumerate(modules):
            members[repr(m.recipe)].append(n)
        self.recipes = [modules[ns[0]].recipe for ns in members.values()]
        optimizer = modules[0].recipe.optimizer
        assert optimizer
        groups = [
            {**_arguments(modules[ns[0]]), "params": [p for n in ns for p in self.parameters[n]]}
            for ns in members.values()
        ]
        self.optimizer = optimizer.make(groups, 1.0)

    def begin_epoch(self, epoch: int, alive: Sequence[bool]) -> None:  # noqa: ARG002  # without a gradient they rest
        """Set the epoch's learning rates."""
        for group, recipe in zip(self.optimizer.param_groups, self.recipes, strict=True):
            group["lr"] = recipe.step_size(epoch)

    def add(self, gradient: Tensor) -> None:
        """Keep the gradients where the parameters' own are views of them."""
        self.gradient.copy_(gradient)

    def step(self) -> None:
        """Take a step with every network that has gradients."""
        self.optimizer.step()

    def end(self, n: int) -> None:
        """Let network n stand still at zero, where it is finite: the optimiser leaves out what has no gradient."""
        self.weights[n] = 0
        for p in self.parameters[n]:
            p.grad = None

    def state(self, n: int) -> dict[str, Any]:
        """Copy the state that network n's own optimiser would have."""
        alone = self._alone(n)
        alone.state.update(
            {p: self.optimizer.state[p] for p in self.parameters[n] if p in self.optimizer.state}
        )
        return {"optimizer": copy.deepcopy(alone.state_dict())}

    def load_state(self, n: int, state: dict[str, Any]) -> None:
        """Restore the state of network n's own optimiser."""
        alone = self._alone(n)
        alone.load_state_dict(state["optimizer"])
        self.optimizer.state.update(alone.state)

    def _alone(self, n: int) -> torch.optim.Optimizer:
        return self.modules[n].recipe.make_optimizer(self.modules[n].net)


def _arguments(module: RegularizedModule) -> dict[str, Any]:
    """Return the settings of a method's optimiser, as it completes them itself."""
    (group,) = module.recipe.make_optimizer(module.net).param_groups
    return {key: value for key, value in group.items() if key != "params"}


def descent_of(modules: Sequence[RegularizedModule], stack: StackedNetwork) -> Descent:
    """Return what trains a stack of networks whose recipes differ in numbers alone."""
    if modules[0].recipe.optimizer:
        return SharedOptimizer(modules, stack)
    return PapersDescent(modules, stack)
