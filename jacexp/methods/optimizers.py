"""Optimisers and schedules beside the papers' own: classes of PyTorch's or of a user's own, by their import path."""

import inspect
import json
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import UnionType
from typing import Any, Union, get_args, get_origin

import torch
from torch import Tensor, nn
from torch.optim import lr_scheduler

from jacexp.errors import ConfigError, first_line
from jacexp.ranges import LISTS
from jacexp.targets import checked_arguments, imported, signature

OPTIMIZER, SCHEDULER = "train.optimizer", "train.scheduler"
"""The keys that they stand under."""

ELEMENTWISE = (
    *(torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW, torch.optim.RMSprop, torch.optim.Adagrad),
    *(torch.optim.Adadelta, torch.optim.Adamax, torch.optim.NAdam, torch.optim.RAdam),
    *(torch.optim.ASGD, torch.optim.Rprop),
)
"""PyTorch's optimisers whose step of a weight depends on that weight's own gradients alone. A class of a user's own
says so by ``elementwise = True``."""

FUSED = (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW)
"""Those with one call for all parameters on CPUs and GPUs."""

CHOSEN = ("foreach", "fused", "capturable", "differentiable", "maximize")
"""Arguments that change how a step is computed, or its sign, and are no user's to choose."""


@dataclass(frozen=True)
class _Choice:
    """A class by its import path, with the arguments of it that are a user's to choose."""

    target: str
    arguments: Mapping[str, Any]

    def __str__(self) -> str:
        """Write it as a call, without what is off."""
        words = [f"{k}={_number(v)}" for k, v in self.arguments.items() if v is not False and v is not None]
        return f"{self.target.rpartition('.')[2]}({', '.join(words)})"


@dataclass(frozen=True)
class OptimizerChoice(_Choice):
    """An optimiser's class by its import path, with its arguments but for the parameters and the learning rate."""

    @classmethod
    def checked(cls, target: str, given: Mapping[str, Any]) -> "OptimizerChoice":
        """Check the arguments by the class's signature, complete them by its defaults, and make it once.

        Returns:
            The optimiser, with whole numbers as floats where the class takes floats.

        Raises:
            ConfigError: for what is no optimiser or cannot train here, or an argument that does not fit.
        """
        found = _class(target, OPTIMIZER, torch.optim.Optimizer)
        _refuse(found, target)
        for name in given:
            if name == "lr":
                raise ConfigError(f"{OPTIMIZER}.lr: the learning rate is train.lr; leave this out")
            if name in CHOSEN:
                raise ConfigError(f"{OPTIMIZER}.{name}={given[name]}: leave it out, for jacexp chooses it")
        choice = cls(target, _checked(found, given, OPTIMIZER, ("params", "lr", *CHOSEN)))
        choice.make([nn.Parameter(torch.zeros(2, 2))], 0.1)
        return choice

    @property
    def type(self) -> Any:
        """The class, a `torch.optim.Optimizer`."""
        return imported(self.target, OPTIMIZER)

    @property
    def is_elementwise(self) -> bool:
        """Whether the class is declared to treat every weight by itself, as a stack needs it."""
        return self.type in ELEMENTWISE or self.type.__dict__.get("elementwise", False) is True

    def make(self, parameters: Iterable[Any], lr: float) -> torch.optim.Optimizer:
        """Make the optimiser of parameters, or of groups of them.

        Returns:
            The optimiser.

        Raises:
            ConfigError: if the class refuses them.
        """
        arguments: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in self.arguments.items()
        }
        if self.type in FUSED:
            arguments["fused"] = True
        try:
            return self.type(parameters, lr=lr, **arguments)
        except Exception as error:  # a class of a user's own may raise anything
            raise ConfigError(f"{OPTIMIZER}: {self} cannot be made: {first_line(error)}") from error

    def try_out(self, net: nn.Module) -> None:
        """Try one step with a copy of a network's weights, before any work starts.

        Raises:
            ConfigError: if the optimiser fails, or keeps what a checkpoint cannot hold.
        """
        weights = [nn.Parameter(p.detach().clone()) for p in net.parameters() if p.requires_grad]
        for p in weights:
            p.grad = torch.zeros_like(p)
        optimizer = self.make(weights, 0.1)
        losses: list[float] = []

        def closure() -> float:  # where Lightning computes the gradients
            losses.append(0.0)
            return losses[-1]

        try:
            optimizer.step(closure)
        except Exception as error:
            raise ConfigError(f"{OPTIMIZER}: {self} cannot take a step: {first_line(error)}") from error
        if len(losses) != 1:
            raise ConfigError(
                f"{OPTIMIZER}: {self} calls closure {len(losses)} times in step(closure), and not once as PyTorch's do"
            )
        if not is_plain(optimizer.state_dict()):
            raise ConfigError(
                f"{OPTIMIZER}: {self} keeps other things than tensors and numbers, which no checkpoint can hold"
            )


@dataclass(frozen=True)
class SchedulerChoice(_Choice):
    """A learning rate's schedule by the import path of its class, a `torch.optim.lr_scheduler.LRScheduler`."""

    @classmethod
    def checked(cls, target: str, given: Mapping[str, Any]) -> "SchedulerChoice":
        """Check the arguments by the class's signature, and complete them by its defaults.

        Returns:
            The schedule.

        Raises:
            ConfigError: for what is no schedule or an argument that does not fit.
        """
        found = _class(target, SCHEDULER, lr_scheduler.LRScheduler)
        if issubclass(found, lr_scheduler.ReduceLROnPlateau):
            raise ConfigError(
                f"{SCHEDULER}._target_={target} follows the validation loss; choose a schedule of the epoch alone"
            )
        return cls(target, _checked(found, given, SCHEDULER, ("optimizer", "last_epoch", "verbose")))

    def factors(self, lr: float, epochs: int) -> tuple[float, ...]:
        """Compute what the learning rate of each epoch is in units of the first one's, ``lr``.

        Returns:
            A factor an epoch.

        Raises:
            ConfigError: if the class fails, or changes more than a finite learning rate.
        """
        return _factors(self.target, json.dumps(self.arguments, sort_keys=True), lr, epochs)


@lru_cache(maxsize=64)
def _factors(target: str, arguments: str, lr: float, epochs: int) -> tuple[float, ...]:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=lr, momentum=0.5)
    rates = []
    try:
        schedule = imported(target, SCHEDULER)(optimizer, **json.loads(arguments))
        for epoch in range(epochs):
            if epoch:
                optimizer.step()  # without a gradient; or PyTorch warns of a missing step
                schedule.step()
            rates.append(float(optimizer.param_groups[0]["lr"]))
    except Exception as error:  # a class of a user's own may raise anything
        raise ConfigError(f"{SCHEDULER}._target_={target} fails: {first_line(error)}") from error
    if optimizer.param_groups[0]["momentum"] != 0.5:
        raise ConfigError(f"{SCHEDULER}._target_={target} changes momentum too; set cycle_momentum=false")
    if not all(math.isfinite(rate) and rate >= 0 for rate in rates):
        raise ConfigError(f"{SCHEDULER}._target_={target} gives learning rates that are not finite and ≥ 0")
    return tuple(rate / lr for rate in rates)


def weight_decay_of(choice: OptimizerChoice) -> str:
    """Return what one of PyTorch's optimisers does with its weight decay; nothing where it has none."""
    decay = choice.arguments.get("weight_decay")
    if not decay or choice.type not in ELEMENTWISE:
        return ""
    is_decoupled = choice.type is torch.optim.AdamW or choice.arguments.get("decoupled_weight_decay")
    return f", weight decay {'decoupled from' if is_decoupled else 'added to'} the gradient"


def is_plain(value: Any) -> bool:
    """Return whether a checkpoint can hold a value that is loaded without executing anything."""
    if isinstance(value, Mapping):
        return all(is_plain(part) for pair in value.items() for part in pair)
    if isinstance(value, list | tuple):
        return all(map(is_plain, value))
    return value is None or type(value) in (bool, int, float, str) or isinstance(value, Tensor)


def _class(target: str, key: str, kind: type) -> Any:
    found = imported(target, f"{key}._target_")
    if not (isinstance(found, type) and issubclass(found, kind)) or found is kind:
        raise ConfigError(f"{key}._target_={target} is no class of a torch.optim {kind.__name__}")
    return found


def _refuse(found: type, target: str) -> None:
    """Refuse optimisers that do not fit a training with one dense gradient a step.

    Raises:
        ConfigError: with the reason.
    """
    reasons = {
        "evaluates the loss several times a step": issubclass(found, torch.optim.LBFGS),
        "is for sparse gradients": issubclass(found, torch.optim.SparseAdam),
        "has other weights for evaluation than for training": hasattr(found, "eval"),
        "takes no lr": "lr" not in signature(found),
    }
    for reason, holds in reasons.items():
        if holds:
            raise ConfigError(f"{OPTIMIZER}._target_={target} {reason}, which is not supported here")


def _checked(
    found: Callable[..., Any], given: Mapping[str, Any], key: str, hidden: Collection[str]
) -> dict[str, Any]:
    """Check arguments by the part of a signature that is a user's to choose, and write whole numbers as floats."""
    parameters = {n: p for n, p in signature(found).items() if n not in hidden}
    kinds = {n: _without_tensors(p.annotation) for n, p in parameters.items()}

    def shown() -> None: ...

    shown.__name__ = getattr(found, "__name__", key)
    shown.__signature__ = inspect.Signature(  # type: ignore[attr-defined]  # what `signature` reads
        [
            p.replace(annotation=kinds[n], kind=p.kind if p.kind is p.VAR_KEYWORD else p.KEYWORD_ONLY)
            for n, p in parameters.items()
            if p.kind is not p.VAR_POSITIONAL
        ]
    )
    complete = checked_arguments(shown, given, key=key)
    decay = complete.get("weight_decay")
    if isinstance(decay, int | float) and decay < 0:
        raise ConfigError(f"{key}.weight_decay={decay} must not be negative")
    return {n: _as_float(value, kinds.get(n)) for n, value in complete.items()}


def _without_tensors(kind: Any) -> Any:
    """Leave out of an annotation the tensors that no configuration can hold."""
    origin, parts = get_origin(kind), get_args(kind)
    if origin in (UnionType, Union):
        return Union[tuple(_without_tensors(p) for p in parts if p is not Tensor)]  # noqa: UP007  # computed
    if origin in LISTS:
        return origin[tuple(p if p is ... else _without_tensors(p) for p in parts)]
    return kind


def _as_float(value: Any, kind: Any) -> Any:
    if isinstance(value, list):
        return [_as_float(v, (get_args(kind) or (None,))[0]) for v in value]
    takes_float = kind is float or float in get_args(kind)
    return float(value) if takes_float and type(value) is int else value


def _number(value: Any) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"[{', '.join(map(_number, value))}]"
    return f"{value:g}" if isinstance(value, float) else str(value)
