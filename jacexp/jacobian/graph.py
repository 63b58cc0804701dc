"""The walk over a network: torch.fx, once, to a program of steps with a rule each."""

import operator
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, TypeGuard
from weakref import WeakKeyDictionary

from torch import Tensor, fx, nn

from jacexp.errors import NoRuleError
from jacexp.jacobian.rules.base import FUNCTIONS, RULES, STACKED, Rule


@dataclass(frozen=True)
class Step:
    """One layer of a network, values[inputs] -> values[number of the step + 1]. Value 0 is the network's input."""

    rule: type[Rule]
    layer: str | nn.Module
    """The name of a submodule, or the module that a function amounts to."""
    inputs: tuple[int, ...]


@dataclass(frozen=True)
class Program:
    """The steps of a network in the order of a forward pass; the last value is the logits."""

    steps: tuple[Step, ...]
    weighted: tuple[bool, ...]
    """For each step, whether its layer has parameters."""
    upstream: tuple[bool, ...]
    """For each value, whether any layer with parameters comes before it."""
    done: tuple[tuple[int, ...], ...]
    """For each step, the values that no later step needs."""

    def bind(self, net: nn.Module, *, stacked: bool = False) -> list[Rule]:
        """Read each layer as it stands now: its settings and its tensors, (N, ...) where networks are stacked."""
        layers = [submodule(net, s.layer) if isinstance(s.layer, str) else s.layer for s in self.steps]
        return [rule(layer) for rule, layer in zip(self.rules(stacked=stacked), layers, strict=True)]

    def rules(self, *, stacked: bool = False) -> list[type[Rule]]:
        """Return the rule of each step."""
        return [self._stacked_rule(n) if stacked else step.rule for n, step in enumerate(self.steps)]

    def _stacked_rule(self, number: int) -> type[Rule]:
        rule = self.steps[number].rule
        if rule not in STACKED and self.weighted[number]:
            raise NoRuleError(f"no stacked rule for {rule.__name__}: its networks cannot be trained as one")
        return STACKED.get(rule, rule)

    def sweep(
        self,
        passes: Iterable[Callable[..., Tensor]],
        x: Tensor,
        seen: Callable[[int, Tensor], None] | None = None,
    ) -> Tensor:
        """Run from the input to the logits.

        Args:
            passes: what each step does: its rule's ``forward`` or ``tangent``.
            x: the value at the input.
            seen: told the number and the input of each step with parameters.

        Returns:
            The value at the logits.
        """
        values = {0: x}
        for number, (step, apply) in enumerate(zip(self.steps, passes, strict=True)):
            arguments = [values[i] for i in step.inputs]
            if seen is not None and self.weighted[number]:
                seen(number, arguments[0])
            for i in self.done[number]:
                del values[i]
            values[number + 1] = apply(*arguments)
        return values[len(self.steps)]


_programs: WeakKeyDictionary[nn.Module, tuple[Any, Program | NoRuleError]] = WeakKeyDictionary()


def program_of(net: nn.Module) -> Program:
    """Return the program of a network, walking over it only if its layers or their modes are not those of last time.

    Args:
        net: any module whose forward torch.fx can trace and whose layers all have a rule.

    Returns:
        The program.

    Raises:
        NoRuleError: naming the first layer or function without a rule.
    """
    kinds = (len(RULES), len(FUNCTIONS), _kinds(net))  # a rule may have been registered since
    known = _programs.get(net)
    if known is None or known[0] != kinds:
        known = _programs[net] = (kinds, _walk_or_error(net))
    if isinstance(known[1], NoRuleError):
        raise known[1].with_traceback(None)
    return known[1]


def _walk_or_error(net: nn.Module) -> "Program | NoRuleError":
    """Walk over a network; a missing rule is remembered too, so that `engine="auto"` looks for it once."""
    try:
        return _walk(net)
    except NoRuleError as error:
        return error


def has_rules(net: nn.Module) -> bool:
    """Return whether `program_of` finds a rule for every layer."""
    try:
        program_of(net)
    except NoRuleError:
        return False
    return True


def submodule(net: nn.Module, name: str) -> nn.Module:
    """Return a part of a network by its dotted name, without the checks of ``get_submodule``."""
    for part in name.split(".") if name else ():
        net = net._modules[part]  # type: ignore[assignment]  # the walk has been here
    return net


def _kinds(net: nn.Module) -> list[tuple[type, bool, bool]]:
    """List all that a walk depends on: each module's type, mode and whether it has hooks."""
    kinds, left = [], [net]
    while left:
        m = left.pop()
        kinds.append((type(m), m.training, bool(m._forward_hooks or m._forward_pre_hooks)))
        left.extend(child for child in m._modules.values() if child is not None)
    return kinds


def _walk(net: nn.Module) -> Program:
    for name, m in net.named_modules():
        if m._forward_hooks or m._forward_pre_hooks:
            raise NoRuleError(
                f"{name or type(net).__name__} has forward hooks, which the passes engine would not call"
            )
    if type(net) in RULES:
        return _finished([Step(RULES[type(net)], "", (0,))], net)
    try:
        graph = _Tracer().trace(net)
    except (fx.proxy.TraceError, TypeError, ValueError, RuntimeError) as error:
        raise NoRuleError(f"torch.fx cannot follow {type(net).__name__}.forward: {error}") from error
    values: dict[fx.Node, int] = {}
    steps: list[Step] = []
    for node in graph.nodes:
        if node.op == "placeholder" and not values:
            values[node] = 0
        elif node.op == "output":
            result = node.args[0]
            if not (_require(result, values, "the output") and values[result] == len(steps)):
                raise NoRuleError(f"{type(net).__name__}.forward computes more than it returns")
        elif not _is_about_shapes(node):
            steps.append(_step(node, net, values))
            values[node] = len(steps)
    return _finished(_commuted(steps), net)


class _Tracer(fx.Tracer):
    """Looks into every module that has no rule of its own, but not into PyTorch's layers."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return type(m) in RULES or super().is_leaf_module(m, module_qualified_name)


def _is_about_shapes(node: fx.Node) -> bool:
    """Whether no step needs the node's value: x.size(0), x.shape[0], or what nobody uses."""
    return node.target in ("size", getattr, operator.getitem) or not node.users


def _step(node: fx.Node, net: nn.Module, values: dict[fx.Node, int]) -> Step:
    """Make the step of one node of the graph, or say why there is none."""
    tensors: list[Any]
    if node.op == "call_module":
        layer = net.get_submodule(str(node.target))
        name, tensors = f"{layer} ({node.target})", [*node.args]
    else:
        name = f"{node.target} in {type(net).__name__}.forward"
        layer, tensors = _as_layer(node, name)
    if type(layer) not in RULES:
        raise NoRuleError(f"no rule for {name}; see register_rule")
    for tensor in tensors:
        if _require(tensor, values, name) and _is_in_place(node, layer) and len(tensor.users) > 1:
            raise NoRuleError(f"{name} works in place on what others use too; make it inplace=False")
    reference = str(node.target) if node.op == "call_module" else layer
    return Step(RULES[type(layer)], reference, tuple(values[t] for t in tensors))


def _as_layer(node: fx.Node, name: str) -> tuple[nn.Module, list[Any]]:
    """Return the module that a call of a function amounts to, and the tensors that it is called with."""
    make = FUNCTIONS.get(node.target)
    if make is None:
        raise NoRuleError(f"no rule for {name}; see register_function")
    first, *settings = node.args or (node.kwargs.get("input"),)
    tensors = list(first) if isinstance(first, tuple | list) else [first]
    while len(tensors) < getattr(make, "n_tensors", 1) and settings:
        tensors.append(settings.pop(0))
    try:
        return make(*settings, **{k: v for k, v in node.kwargs.items() if k != "input"}), tensors
    except TypeError as error:
        raise NoRuleError(f"no rule for {name} with these arguments: {error}") from error


def _require(tensor: Any, values: dict[fx.Node, int], user: str) -> TypeGuard[fx.Node]:
    """Check that a tensor is the network's input or made by a step."""
    if not isinstance(tensor, fx.Node) or tensor not in values:
        raise NoRuleError(f"{user} uses {tensor}, which no layer with a rule makes from the network's input")
    return True


def _is_in_place(node: fx.Node, layer: nn.Module) -> bool:
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
    by_name = node.op != "call_module" and (name.endswith("_") or name == "iadd")
    return by_name or bool(getattr(layer, "inplace", False))


def _commuted(steps: list[Step]) -> list[Step]:
    """Move each maximum before the rectifier that it follows: they commute, and after it there is less to rectify.

    max over a window of relu(x) is relu of the maximum, with the same index wherever it is positive. Where it is not,
    relu's zero stops all that passes through either way.

    Returns:
        The steps in the faster order.
    """
    steps = list(steps)
    uses = Counter(i for step in steps for i in step.inputs)
    for number, step in enumerate(steps):
        before = step.inputs[0] - 1
        if (
            step.rule.selects
            and before >= 0
            and vars(steps[before].rule).get("rectifies")
            and uses[before + 1] == 1
        ):
            rectifier = steps[before]
            steps[before] = replace(step, inputs=rectifier.inputs)
            steps[number] = replace(rectifier, inputs=step.inputs)
    return steps


def _finished(steps: list[Step], net: nn.Module) -> Program:
    layers = [submodule(net, s.layer) if isinstance(s.layer, str) else s.layer for s in steps]
    weighted = [any(p is not None for p in layer._parameters.values()) for layer in layers]
    upstream = [False]
    last_use: dict[int, int] = {}
    for number, step in enumerate(steps):
        upstream.append(weighted[number] or any(upstream[i] for i in step.inputs))
        last_use.update(dict.fromkeys(step.inputs, number))
    done = [tuple(i for i, last in last_use.items() if last == number) for number in range(len(steps))]
    return Program(tuple(steps), tuple(weighted), tuple(upstream), tuple(done))
