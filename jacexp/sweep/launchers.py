"""What a launcher's settings stand for: the executor that trains its groups."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from jacexp.errors import ConfigError
from jacexp.sweep.engine import Executor
from jacexp.sweep.executors import InProcess, Processes
from jacexp.sweep.ray import Ray
from jacexp.sweep.slurm import Submitit

MAY_BE_ZERO = ("gpus_per_node", "num_cpus", "num_gpus", "max_retries", "max_num_timeout")
"""The other numbers are at least 1; n_jobs may also be -1."""


def make_executor(name: str, folder: Path, /, *, largest: int | None = None, **settings: Any) -> Executor:
    """Make the executor that ``hydra.launcher.executor`` names.

    Args:
        name: ``in_process``, ``processes``, ``device`` (the first with a GPU, the second without), ``submitit`` or
            ``ray``.
        folder: the sweep's, for the logs of a cluster's jobs.
        largest: the most runs of a group, which is checked with the other settings.
        settings: the executor's own.

    Returns:
        The executor.

    Raises:
        ConfigError: for another name or an impossible setting.
        JacexpError: for a library that is not installed, or a cluster that does not answer.
    """
    for key, value in {"largest": largest, **settings}.items():
        least = 0 if key in MAY_BE_ZERO else 1
        if isinstance(value, int | float) and not value >= least and (key, value) != ("n_jobs", -1):
            raise ConfigError(f"hydra.launcher.{key}={value} must be at least {least}")
    if name == "device":
        name = "in_process" if torch.cuda.is_available() else "processes"
        settings = {} if name == "in_process" else settings
    makers: dict[str, Callable[..., Executor]] = {
        "in_process": InProcess,
        "processes": Processes,
        "submitit": partial(Submitit, folder / "submitit"),
        "ray": Ray,
    }
    if name not in makers:
        raise ConfigError(
            f"hydra.launcher.executor={name} is not one of in_process, processes, device, submitit, ray"
        )
    return makers[name](**settings)
