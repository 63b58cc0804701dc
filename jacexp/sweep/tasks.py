"""The training of a group of runs as a task that any process can take over."""

import gc
import sys
from collections.abc import Sequence
from contextlib import chdir
from functools import partial
from pathlib import Path

import torch
from omegaconf import DictConfig

from jacexp.errors import JacexpError
from jacexp.sweep.entry import Group
from jacexp.train.fused import train_together
from jacexp.train.progress import in_sweep
from jacexp.train.run import run

ATTEMPTS = 3
"""How often a group is started whose process is killed."""


def task_of(group: Group) -> "partial[JacexpError | None]":
    """Make what trains a group in any process, as if the user's command ran there."""
    cfgs = tuple(entry.job.cfg for entry in group if entry.job)
    return partial(train_group, cfgs, tuple(sys.argv), str(Path.cwd()))


def train_group(cfgs: Sequence[DictConfig], arguments: Sequence[str], folder: str) -> JacexpError | None:
    """Train runs, together if there are several.

    Args:
        cfgs: their configurations.
        arguments: the user's command line, for the runs' provenance.
        folder: where it was started.

    Returns:
        Why it did not end well, in a form that any process can send; None if it did.
    """
    sys.argv = list(arguments)
    try:
        with chdir(folder), in_sweep():
            if len(cfgs) == 1:
                run(cfgs[0])
            else:
                train_together(cfgs)
    except JacexpError as error:
        return error
    except Exception as error:
        return JacexpError(f"{type(error).__name__}: {error}")
    finally:
        _free_memory()
    return None


def _free_memory() -> None:
    """Free what a failed run may have left on the device."""
    if torch.cuda.is_initialized():
        gc.collect()
        torch.cuda.empty_cache()
