"""What ``hydra/launcher=`` may be, and the settings of each: ``hydra.launcher.KEY=VALUE``.

Hydra knows them as ``jacexp_fused`` and so on, so that installing jacexp changes no launcher of another plugin;
train.py reads the short names (`jacexp.train.commandline.checked_arguments`).
"""

from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore


@dataclass
class LauncherConfig:
    """What all of them have."""

    _target_: str = "hydra_plugins.jacexp_launcher.launcher.JacexpLauncher"
    fuse: bool = False
    """Train compatible runs together, as one stacked network."""
    largest: int | None = None
    """The most runs of a group. None: on a GPU what its memory holds; without one an even share, 16 at most."""
    dry: bool = False
    """List what a sweep would train and for how long, and start nothing; train.py's ``--dry`` sets it."""


@dataclass
class SequentialConfig(LauncherConfig):
    """``sequential``, the default: one run after another in this process."""

    executor: str = "in_process"


@dataclass
class FusedConfig(LauncherConfig):
    """``fused``: compatible runs together, on a GPU in this process, without one in a process a core."""

    executor: str = "device"
    fuse: bool = True
    n_jobs: int = -1
    """Processes without a GPU; -1: one a core."""


@dataclass
class ProcessesConfig(LauncherConfig):
    """``processes``: several on this machine, which share its cores. Of several GPUs each sees one of its own."""

    executor: str = "processes"
    n_jobs: int = -1
    """Processes; -1: one a GPU where there are several, otherwise one a core."""


@dataclass
class SubmititConfig(LauncherConfig):
    """``submitit_local``: each run (or fused group) a job of this machine, as `submitit_slurm` would submit it."""

    executor: str = "submitit"
    cluster: str = "local"
    name: str = "jacexp"
    """The jobs' name."""
    timeout_min: int = 240
    """Minutes after which a job is saved and queued again, where it goes on."""
    cpus_per_task: int = 2
    gpus_per_node: int = 0
    mem_gb: float | None = None
    """Memory of a job in GiB; None: the cluster's own default."""


@dataclass
class SlurmConfig(SubmititConfig):
    """``submitit_slurm``: each run (or fused group) a job of one Slurm array. The results must lie on a shared disk."""

    cluster: str = "slurm"
    partition: str | None = None
    array_parallelism: int = 256
    """Jobs of the array that may run at the same time."""
    max_num_timeout: int = 100
    """How often a job that timed out is queued again. One that was preempted always is."""
    additional_parameters: dict[str, str] = field(default_factory=dict)
    """Further options of sbatch, for example ``hydra.launcher.additional_parameters={account: lab, qos: low}``."""
    setup: list[str] = field(default_factory=list)
    """Shell lines before a job's own command, for example ``module load cuda``."""


@dataclass
class RayConfig(LauncherConfig):
    """``ray``: each run (or fused group) a task of a Ray cluster. The results must lie on a shared disk."""

    executor: str = "ray"
    address: str | None = None
    """The cluster's: ``auto``, or host:port of its head. None: RAY_ADDRESS, or else a cluster of this machine."""
    num_cpus: float = 1
    """Cores of a task."""
    num_gpus: float = 0
    """GPUs of a task; a fraction lets tasks share one."""
    max_retries: int = 3
    """How often a task is started again whose process or machine died."""


NAMES = {
    "sequential": SequentialConfig,
    "fused": FusedConfig,
    "processes": ProcessesConfig,
    "submitit_local": SubmititConfig,
    "submitit_slurm": SlurmConfig,
    "ray": RayConfig,
}


@dataclass
class SweeperConfig:
    """``jacexp``: the product of all lists of values."""

    _target_: str = "hydra_plugins.jacexp_launcher.launcher.JacexpSweeper"
    params: Any = "${oc.select:grid,null}"
    """Lists of values by key that a bare ``-m`` takes: the grid of jacexp's runs, which is for no other sweeper."""


ConfigStore.instance().store(group="hydra/sweeper", name="jacexp", node=SweeperConfig, provider="jacexp")
for name, node in NAMES.items():
    ConfigStore.instance().store(group="hydra/launcher", name=f"jacexp_{name}", node=node, provider="jacexp")
