"""Lightning's Trainer, as a run uses it."""

import logging
import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from omegaconf import DictConfig
from pytorch_lightning.callbacks import Callback, Checkpoint
from pytorch_lightning.strategies import DDPStrategy
from torch.nn.modules.batchnorm import _BatchNorm
from typing_extensions import override

from jacexp.methods.distributed import Share
from jacexp.train.job import Job
from jacexp.train.module import RegularizedModule
from jacexp.train.progress import progress_callbacks


class PatientTrainer(pl.Trainer):
    """Lightning's trainer that leaves SIGTERM to the recorders, which save first, in a validation too."""

    @property
    def received_sigterm(self) -> bool:
        """Lightning itself is not to end the training."""
        return False


class OwnProcesses(LightningEnvironment):
    """Tells Lightning that the processes are started already, and which one this is."""

    def __init__(self, share: Share) -> None:
        super().__init__()
        self.share = share

    @property
    def creates_processes_externally(self) -> bool:
        """Lightning itself would run the user's command once more for each of the others."""
        return True

    @override
    def local_rank(self) -> int:
        return self.share.rank

    @override
    def node_rank(self) -> int:
        return 0  # whatever a cluster's environment says: all processes are here


def on_gpu(cfg: DictConfig) -> bool:
    """Return whether a run on several devices takes GPUs, rather than processes on the CPU."""
    return cfg.train.device != "cpu" and torch.cuda.is_available()


def differences(module: RegularizedModule) -> list[str]:
    """Name where a network on several devices is not the one that a single device would train."""
    words = []
    if any(isinstance(layer, _BatchNorm) for layer in module.net.modules()):
        words.append(
            "batch norm normalises each process's rows of a batch by themselves, and its running statistics are "
            "those of the first process, so the numbers are not those of one device"
        )
    if module.has_dropout:
        words.append(
            "each process draws dropout's masks for its own rows, so they are not those of one device"
        )
    return words


def make_trainer(jobs: Sequence[Job], recorder: Checkpoint, callbacks: Iterable[Callback] = ()) -> pl.Trainer:
    """Make Lightning's trainer of a run, of which this process has a share, or of a stack of them.

    Args:
        jobs: the runs.
        recorder: writes their files, and tells their loggers, of which Lightning itself knows nothing.
        callbacks: a user's own.

    Returns:
        The trainer.
    """
    quiet_lightning()
    cfg, share = jobs[0].cfg, jobs[0].module.share
    progress = progress_callbacks(cfg.progress) if len(jobs) == 1 else []
    settings: dict[str, Any] = {
        "accelerator": cfg.train.device,
        "devices": 1,
        "plugins": [LightningEnvironment()],  # one process a run, in a Slurm job too
    }
    if share.world_size > 1:
        settings = {
            "accelerator": "gpu" if on_gpu(cfg) else "cpu",
            "devices": share.world_size,
            # Buffers do not matter to training, and are copied before each validation.
            "strategy": DDPStrategy(broadcast_buffers=False),
            "plugins": [OwnProcesses(share)],
        }
    return PatientTrainer(
        **settings,
        max_epochs=cfg.train.epochs,
        precision={"32": "32-true", "64": "64-true"}.get(cfg.train.precision, cfg.train.precision),
        logger=False,
        callbacks=[*progress, *callbacks, recorder],
        enable_progress_bar=any(isinstance(c, pl.callbacks.ProgressBar) for c in progress),
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
    )


def quiet_lightning() -> None:
    """Silence Lightning's hints about loggers, loaders' workers, devices and srun, none of which apply here."""
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="pytorch_lightning")
    # Lightning looks for srun on every machine that has Slurm, whatever environment it is given.
    warnings.filterwarnings("ignore", message="The `srun` command is available")
