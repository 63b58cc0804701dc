"""Networks of a user's own, by the import path of their class."""

import copy
from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

import torch
from torch import nn

from jacexp.errors import ConfigError, JacexpError, first_line
from jacexp.models.network import Network
from jacexp.targets import checked_arguments, imported, signature

RESERVED = ("name", "init", "pool", "filters")
"""Keys of ``model`` that are the project's own, so that no argument can have their names."""


def from_data(in_shape: Sequence[int], n_classes: int) -> dict[str, Any]:
    """Return the arguments that a network gets from the data where it has them and they are not given.

    Args:
        in_shape: of an input, (C, H, W) or (D,).
        n_classes: the number of logits.

    Returns:
        The arguments by name.
    """
    return {
        "n_classes": n_classes,
        "num_classes": n_classes,
        "in_shape": tuple(in_shape),
        "in_channels": in_shape[0],
        "in_features": prod(in_shape),
    }


def check_network(target: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Check the arguments of a network of one's own, and complete them by the defaults of its class.

    Args:
        target: the import path of its class, or of a function that makes it.
        given: its arguments.

    Returns:
        The arguments.

    Raises:
        ConfigError: if it cannot be imported, or its arguments do not fit its signature.
    """
    found = imported(target, "model._target_")
    if clash := [name for name in RESERVED if name in signature(found)]:
        raise ConfigError(
            f"model._target_={target} takes an argument {clash[0]}, and model.{clash[0]} is a key of jacexp's own: "
            "rename it"
        )
    return checked_arguments(found, given, key="model", filled=from_data((1,), 2))


def own_body(
    target: str, arguments: Mapping[str, Any], in_shape: Sequence[int], n_classes: int
) -> Callable[[], nn.Module]:
    """Return what makes the layers of a network of one's own.

    Args:
        target: the import path of its class, or of a function that makes it.
        arguments: what it is called with.
        in_shape: of an input.
        n_classes: the number of logits.

    Returns:
        A function without arguments; it raises a ConfigError if the class raises anything.
    """
    found = imported(target, "model._target_")
    takes = signature(found)
    filled = {name: value for name, value in from_data(in_shape, n_classes).items() if name in takes}

    def make() -> nn.Module:
        try:
            body = found(**{**filled, **arguments})
        except JacexpError:
            raise
        except (Exception, SystemExit) as error:
            raise ConfigError(f"model._target_={target} cannot be made: {first_line(error)}") from error
        if not isinstance(body, nn.Module):
            raise ConfigError(f"model._target_={target} makes a {type(body).__name__}, not a torch.nn.Module")
        return body

    return make


def try_out(net: Network, in_shape: Sequence[int], n_rows: int = 2) -> None:
    """Run a copy of a network once in eval mode and once in train mode, before any work starts.

    Args:
        net: the network, which stays as it is.
        in_shape: of an input.
        n_rows: rows of the smallest batch that it is trained on.

    Raises:
        ConfigError: if it fails, or returns anything but finite logits.
        JacexpError: if it says itself what is wrong.
    """
    trial = copy.deepcopy(net)
    name = type(net.body).__name__
    p = next(net.parameters(), None)
    if p is None:
        raise ConfigError(f"{name} has no parameters, so there is nothing to train")
    for rows, is_training in ((2, False), (n_rows, True)):
        x = torch.zeros(rows, *in_shape, dtype=p.dtype, device=p.device)
        mode = "train" if is_training else "eval"
        try:
            with torch.no_grad(), torch.random.fork_rng(devices=[]):
                z = trial.train(is_training)(x)
        except JacexpError:
            raise
        except (Exception, SystemExit) as error:
            raise ConfigError(
                f"{name} fails in {mode} mode on a batch {tuple(x.shape)}: {first_line(error)}"
            ) from error
        if not z.isfinite().all():
            raise ConfigError(
                f"{name} returns logits that are not finite in {mode} mode with its initial weights"
            )
