"""Lightning's Trainer, as a run uses it."""

import logging
import warnings
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from hydra.utils import instantiate
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from omegaconf import DictConfig
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.plugins import TorchCheckpointIO
from pytorch_lightning.strategies import DDPStrategy

from jacexp.methods.share import Share
from jacexp.store.checkpoint import read_checkpoint, save_checkpoint
from jacexp.train.progress import progress_callbacks
from jacexp.train.recorder import Recorder

ALONE = Share()
"""The share of a process that trains by itself."""


class WholeFiles(TorchCheckpointIO):
    """Checkpoints that are written whole or not at all, in their own folder, and execute nothing when read."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, *_: Any, **__: Any) -> None:
        """Write what Lightning gives."""
        save_checkpoint(Path(path), checkpoint)

    def load_checkpoint(self, path: str | Path, *_: Any, **__: Any) -> dict[str, Any]:
        """Read it again, with tensors on the CPU; how to read it is not up to the caller."""
        return read_checkpoint(Path(path), "delete it and train again")


class PatientTrainer(pl.Trainer):
    """Lightning's trainer that leaves SIGTERM to the recorders, which save first, in a validation too."""

    @property
    def received_sigterm(self) -> bool:
        """Lightning itself is not to end the training."""
        return False


class OwnProcesses(LightningEnvironment):
    """Tells Lightning that the processes are started already, and which one this is."""

    def __init__(self, share: Share) -> None:
        """Take this process's place."""
        super().__init__()
        self.share = share

    @property
    def creates_processes_externally(self) -> bool:
        """Lightning itself would run the user's command once more for each of the others."""
        return True

    def local_rank(self) -> int:
        """Give this process's number."""
        return self.share.rank

    def node_rank(self) -> int:
        """Give this machine's number, whatever a cluster's environment says: all processes are here."""
        return 0


def on_gpu(cfg: DictConfig) -> bool:
    """Say whether a run on several devices takes GPUs, rather than processes on the CPU."""
    return cfg.train.device != "cpu" and torch.cuda.is_available()


def make_trainer(cfg: DictConfig, recorder: Recorder, share: Share = ALONE) -> pl.Trainer:
    """Make Lightning's trainer for one run, of which this process has a share."""
    progress = progress_callbacks(cfg.progress)
    several: dict[str, Any] = {}
    if share.world_size > 1:
        several = {
            "accelerator": "gpu" if on_gpu(cfg) else "cpu",
            "devices": share.world_size,
            # Buffers do not matter to training, and are copied before each validation.
            "strategy": DDPStrategy(broadcast_buffers=False),
            "plugins": [WholeFiles(), OwnProcesses(share)],
        }
    return _trainer(
        cfg,
        **several,
        max_epochs=cfg.train.epochs,
        logger=instantiate(cfg.logger, save_dir=str(recorder.directory.path)) if cfg.logger else False,
        callbacks=[*progress, recorder],
        enable_progress_bar=any(isinstance(c, pl.callbacks.ProgressBar) for c in progress),
    )


def make_stack_trainer(cfg: DictConfig, recorder: Checkpoint, epochs: int) -> pl.Trainer:
    """Make Lightning's trainer for a stack of runs that have so many epochs left."""
    return _trainer(cfg, max_epochs=epochs, logger=False, callbacks=[recorder], enable_progress_bar=False)


def _trainer(cfg: DictConfig, **settings: Any) -> pl.Trainer:
    quiet_lightning()
    alone = {
        "accelerator": cfg.train.device,
        "devices": 1,
        "plugins": [WholeFiles(), LightningEnvironment()],  # one process a run, in a Slurm job too
    }
    return PatientTrainer(
        precision={"32": "32-true", "64": "64-true"}.get(cfg.train.precision, cfg.train.precision),
        enable_checkpointing=True,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        **{**alone, **settings},
    )


def quiet_lightning() -> None:
    """Silence Lightning's hints about loggers, loaders' workers, devices and srun, none of which apply here."""
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="pytorch_lightning")
    # Lightning looks for srun on every machine that has Slurm, whatever environment it is given.
    warnings.filterwarnings("ignore", message="The `srun` command is available")
