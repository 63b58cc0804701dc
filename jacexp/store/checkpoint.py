"""Checkpoints: trained networks, and what an interrupted run goes on from. Nothing that a file says is executed."""

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from jacexp.errors import StoreError
from jacexp.models import Network, build
from jacexp.store.runs import RunDirectory, write_atomically


def save_checkpoint(path: Path, content: Mapping[str, Any]) -> None:
    """Write a checkpoint, whole or not at all."""
    file = io.BytesIO()  # torch.save to a path would hide that the disk is full behind a RuntimeError
    torch.save(content, file)
    write_atomically(path, file.getbuffer())


def snapshot(net: Network) -> dict[str, Any]:
    """Copy what makes a network again: its weights, and how to build it."""
    # Copies, for a weight may be a view of a whole stack's, all of which would be saved with it.
    weights = {name: t.detach().clone() for name, t in net.state_dict().items()}
    return {"network": net.origin, "state_dict": weights}


def save_network(path: Path, net: Network) -> None:
    """Write a network's weights and how to build it, whole or not at all."""
    save_checkpoint(path, snapshot(net))


def load_network(directory: RunDirectory, checkpoint: str = "last") -> Network:
    """Load the network that a run ended with, in eval mode on the CPU. Nothing in the file is executed.

    Args:
        directory: the run.
        checkpoint: ``last`` or ``best``.

    Returns:
        The network.

    Raises:
        StoreError: if the checkpoint is missing, truncated or not one of jacexp's.
    """
    path = directory / f"{checkpoint}.ckpt"
    content = read_checkpoint(path)
    try:
        state = content["state_dict"]
        mean, std = state["normalize.mean"], state["normalize.std"]
        net = build(**content["network"], mean=mean, std=std, seed=0)
        net.load_state_dict(state)
    except (KeyError, TypeError, RuntimeError) as error:
        raise StoreError(
            f"{path} is not a checkpoint of jacexp's ({error!r}); delete {directory.path}"
        ) from error
    return net.eval()


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint without executing what it says.

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
        raise StoreError(f"{path} is missing, so the run cannot be evaluated; train it again") from error
    except Exception as error:  # torch.load raises whatever the damage leads to
        raise StoreError(
            f"{path} is damaged or foreign ({type(error).__name__}); delete it and train again"
        ) from error
    if not is_whole or not isinstance(content, dict):
        raise StoreError(f"{path} is damaged or no checkpoint; delete it and train again")
    return content
