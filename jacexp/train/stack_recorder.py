"""What the runs of a stack leave on disk while they train together, each in its own directory as if it were alone."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Checkpoint

from jacexp.data import Loader, StackedLoader
from jacexp.errors import StoreError
from jacexp.methods import RegularizedModule
from jacexp.methods.base import Sums
from jacexp.store.checkpoint import RESUME, read_resume, save_checkpoint, snapshot
from jacexp.store.runs import RunDirectory
from jacexp.train.job import Job
from jacexp.train.recorder import CHECK_EVERY, Diverged, best_row, write_metrics
from jacexp.train.stop import Stopped, stop_requested
from jacexp.train.together import Together

SAVE_EVERY = 60
"""Seconds between two checkpoints: many small files at once, so not after every epoch of a small data set."""


@dataclass
class Progress:
    """How far a run of a stack has come, apart from its tensors."""

    epoch: int = 0
    batches: int = 0
    samples: int = 0
    rows: list[dict[str, float]] = field(default_factory=list)
    seconds: float = 0.0


def read_progress(directory: RunDirectory) -> tuple[Progress, dict[str, torch.Tensor]] | None:
    """Read how far a run came in a stack.

    Returns:
        Its progress and its tensors; None if it has not begun.

    Raises:
        StoreError: for a damaged or foreign checkpoint.
    """
    content = read_resume(directory)
    if content is None:
        return None
    try:
        owner, progress, state = content["run"], Progress(**content["progress"]), content["state"]
    except (KeyError, TypeError):
        owner = None
    if owner != directory.id:
        raise StoreError(
            f"{directory / RESUME} is not a checkpoint of run {directory.id}; delete it and train again"
        )
    return progress, state


def began_in_a_stack(directory: RunDirectory) -> bool:
    """Say whether a run that is not over goes on from a checkpoint of a stack, as it cannot from one of Lightning's."""
    return "progress" in (read_resume(directory) or {})


def began_alone(directory: RunDirectory) -> bool:
    """Say whether a run goes on from a checkpoint of Lightning's, as it cannot in a stack."""
    return (directory / RESUME).exists() and not began_in_a_stack(directory)


class StackRecorder(Checkpoint):
    """Writes each run's metrics and checkpoints, and ends a run whose loss is no longer finite.

    What is due after an epoch is held back until `SAVE_EVERY` seconds have passed, and then written for one run after
    another, each file whole. Runs that a kill leaves at different epochs go on from where each of them is.
    """

    def __init__(
        self,
        jobs: Sequence[Job],
        progress: Sequence[Progress],
        diverged: Callable[[int, Diverged], None],
    ) -> None:
        """Take the runs, how far they are, and whom to tell that one diverged."""
        self.jobs, self.progress, self.diverged = jobs, list(progress), diverged
        self.validation: Sequence[Loader] = ()
        """Each run's validation images, to be set before the training."""
        self._best: dict[int, dict[str, Any]] = {}

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002
        """Look at the clock."""
        self._saved = self._looked = time.perf_counter()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Tell the training images which epoch it is, and where an interrupted one goes on."""
        assert isinstance(pl_module, Together)
        assert isinstance(trainer.train_dataloader, StackedLoader)
        start = pl_module.batch_number(0)
        trainer.train_dataloader.set_epoch(pl_module.epoch, start)
        if start == 0:
            pl_module.start_sums()

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,  # noqa: ARG002
        batch: Any,  # noqa: ARG002
        batch_idx: int,
    ) -> None:
        """Look at the losses now and then; save where it is time to, or if the program is asked to stop."""
        assert isinstance(pl_module, Together)
        assert isinstance(trainer.train_dataloader, StackedLoader)
        done, of = pl_module.batch_number(batch_idx) + 1, len(trainer.train_dataloader)
        if done % CHECK_EVERY == 0 or done == of:
            self._check(trainer, pl_module, done - 1)
        if done < of and (stop_requested() or self._is_late()):
            self._save(pl_module, pl_module.epoch, done)
            self._stop_if_requested(f"within epoch {pl_module.epoch + 1}, after {done} of {of} batches")

    def _check(self, trainer: pl.Trainer, module: Together, batch: int) -> None:
        for n, means in enumerate(module.means()):
            if module.alive[n] and not math.isfinite(means["loss"]):
                module.end(n)
                self._write(n)
                self.diverged(n, Diverged(module.epoch, batch))
        trainer.should_stop = not any(module.alive)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Validate each network and add its row."""
        assert isinstance(pl_module, Together)
        epoch, means = pl_module.epoch, pl_module.means()
        for n, (job, progress) in enumerate(zip(self.jobs, self.progress, strict=True)):
            if not pl_module.alive[n]:
                continue
            counts = self._validate(trainer, job.module, self.validation[n])
            row = {"epoch": epoch, "lr": job.module.recipe.lr_at(epoch)}
            row |= {f"train_{name}": value for name, value in means[n].items()}
            progress.rows = [*progress.rows, row | {f"val_{name}": value for name, value in counts.items()}]
            if job.cfg.checkpoint == "best" and best_row(progress.rows) is progress.rows[-1]:
                self._best[n] = snapshot(job.directory.id, job.module.net)
        is_first = pl_module.current_epoch == 0  # soon something to tell the time left from
        if stop_requested() or is_first or self._is_late() or epoch + 1 == job.cfg.train.epochs:
            self._save(pl_module, epoch + 1, 0)
            self._stop_if_requested(f"after epoch {epoch + 1} of {job.cfg.train.epochs}")

    def _validate(self, trainer: pl.Trainer, method: RegularizedModule, images: Loader) -> dict[str, float]:
        sums, plugin = Sums(), trainer.precision_plugin
        method.net.eval()
        for batch in images:
            with torch.inference_mode(), plugin.val_step_context():
                sums.add(method.plain_terms(plugin.convert_input(batch)), batch.y)
        method.net.train()
        return sums.counts()

    def _is_late(self) -> bool:
        return time.perf_counter() - self._saved > SAVE_EVERY

    def _save(self, module: Together, epoch: int, batches: int) -> None:
        now = time.perf_counter()
        share = (now - self._looked) / max(1, sum(module.alive))
        for n, (job, progress) in enumerate(zip(self.jobs, self.progress, strict=True)):
            if module.alive[n]:
                progress.epoch, progress.batches = epoch, batches
                progress.samples, progress.seconds = module.samples, progress.seconds + share
                content = {"run": job.directory.id, "progress": vars(progress), "state": module.state(n)}
                self._write(n)
                save_checkpoint(job.directory / RESUME, content)
        self._looked = self._saved = time.perf_counter()

    def _write(self, n: int) -> None:
        directory, rows = self.jobs[n].directory, self.progress[n].rows
        if rows:
            write_metrics(directory, rows)
        if n in self._best:
            save_checkpoint(directory / "best.ckpt", self._best.pop(n))

    def _stop_if_requested(self, where: str) -> None:
        if stop_requested():
            raise Stopped(f"{len(self.jobs)} runs are saved {where}; the same command goes on")
