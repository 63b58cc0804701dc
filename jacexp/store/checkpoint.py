"""Checkpoints: trained networks, and what an interrupted run goes on from.

Nothing that a file says is executed, but for the class of a network of a user's own, which is imported by its name.
"""

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from jacexp.errors import ConfigError, StoreError
from jacexp.models.architectures import build
from jacexp.models.network import Network
from jacexp.store.runs import RunDirectory, write_atomically
from jacexp.targets import imported

RESUME = "resume.ckpt"
"""The file in a run's directory that an interrupted run goes on from."""


def save_checkpoint(path: Path, content: Mapping[str, Any]) -> None:
    """Write a checkpoint, whole or not at all."""
    file = io.BytesIO()  # torch.save to a path would hide that the disk is full behind a RuntimeError
    torch.save(content, file)
    write_atomically(path, file.getbuffer())


def snapshot(run: str, net: Network) -> dict[str, Any]:
    """Copy what makes the network of a run again: whose it is, its weights, and how to build it."""
    # Copies, for a weight may be a view of a whole stack's, all of which would be saved with it.
    weights = {name: t.detach().clone() for name, t in net.state_dict().items()}
    return {"run": run, "network": net.origin, "state_dict": weights}


def save_network(directory: RunDirectory, checkpoint: str, net: Network) -> None:
    """Write a run's network as its ``last`` or ``best`` checkpoint, whole or not at all."""
    save_checkpoint(directory / f"{checkpoint}.ckpt", snapshot(directory.id, net))


def load_network(directory: RunDirectory, checkpoint: str = "last") -> Network:
    """Load the network that a run ended with, in eval mode on the CPU.

    Checkpoints of version 0.1 do not name their run; their architecture must be the one that ``result.json`` names.

    Args:
        directory: the run.
        checkpoint: ``last`` or ``best``.

    Returns:
        The network.

    Raises:
        StoreError: if the checkpoint is missing, damaged or another run's, or the result is another run's.
    """
    path = directory / f"{checkpoint}.ckpt"
    # Without its result the run would go on from elsewhere, or not at all, and meet the same file again.
    remedy = f"delete {directory.path} and train run {directory.id} again"
    content = read_checkpoint(path, remedy)
    try:
        result, state = directory.result(), content["state_dict"]
        of_such_a_run = result is None or result["row"]["model"] == content["network"]["name"]
        if content["run"] != directory.id if "run" in content else not of_such_a_run:
            raise StoreError(f"{path} is another run's; {remedy}")
        _check_target(path, content["network"])
        net = build(**content["network"], mean=state["normalize.mean"], std=state["normalize.std"], seed=0)
        _check_shapes(path, net, state)
        if state["normalize.mean"].dtype == torch.float64:  # of train.precision=64
            net.double()
        net.load_state_dict(state)
    except (KeyError, TypeError, RuntimeError, ConfigError) as error:
        raise StoreError(f"{path} is not a checkpoint of jacexp's ({error!r}); {remedy}") from error
    return net.eval()


def _check_target(path: Path, origin: Mapping[str, Any]) -> None:
    """Refuse a network of a user's own whose class is gone: the file is sound, and nothing is to be deleted."""
    if "target" in origin:
        try:
            imported(origin["target"], "model._target_")
        except ConfigError as error:
            raise StoreError(f"{path} needs the class of its network: {error}") from error


def _check_shapes(path: Path, net: Network, state: Mapping[str, Any]) -> None:
    own = net.state_dict()
    if "target" in net.origin and {n: t.shape for n, t in own.items()} != {
        n: t.shape for n, t in state.items()
    }:
        raise StoreError(
            f"{path}: {net.origin['target']} is no longer the class that was trained, for its weights have other names "
            "or shapes; bring it back, or train the run again under another model.name"
        )


def read_checkpoint(path: Path, remedy: str) -> dict[str, Any]:
    """Read a checkpoint without executing what it says.

    Args:
        path: the file.
        remedy: what the user is to do where it cannot be read.

    Returns:
        Its content, with tensors on the CPU.

    Raises:
        StoreError: if it is missing, truncated or not a checkpoint.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            is_whole = archive.testzip() is None  # torch.load itself does not look at the checksums
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise StoreError(f"{path} is missing; {remedy}") from error
    except Exception as error:  # torch.load raises whatever the damage leads to
        raise StoreError(f"{path} is damaged or foreign ({type(error).__name__}); {remedy}") from error
    if not is_whole or not isinstance(content, dict):
        raise StoreError(f"{path} is damaged or no checkpoint; {remedy}")
    return content
