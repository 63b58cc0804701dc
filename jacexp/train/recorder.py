"""What runs leave on disk while they are trained, and the guard that ends one whose loss is no longer a number."""

import csv
import io
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback, Checkpoint
from typing_extensions import override

from jacexp.data.loader import Loader, StackedLoader
from jacexp.store.checkpoint import save_checkpoint, snapshot
from jacexp.store.runs import RunDirectory, write_atomically
from jacexp.train.job import Job
from jacexp.train.loggers import RunLog
from jacexp.train.stop import Stopped, stop_requested
from jacexp.train.training import Training
from jacexp.train.validation import best_row, evaluate

SAVE_EVERY = 600.0
"""Seconds of a long epoch between two checkpoints of a run: what a kill may cost. No number depends on them."""

SAVE_STACK_EVERY = 60.0
"""The same of a stack, which is not saved after every short epoch either, for these are many small files."""

CHECK_EVERY = 100
"""Steps between two looks at the loss; looking makes the host wait for the device."""


class Diverged(Exception):
    """The loss became NaN or infinite."""

    def __init__(self, epoch: int, step: int) -> None:
        """Name the epoch, counted from 0, and a step of it that is no earlier than the loss's end."""
        super().__init__(epoch, step)
        self.epoch, self.step = epoch, step

    def __str__(self) -> str:
        """Describe it, with epochs and steps counted from 1, as in the lines of progress."""
        return f"the loss is not finite in epoch {self.epoch + 1}, at or before its step {self.step + 1}"


class Recorder(Checkpoint):
    """Writes ``metrics.csv``, ``resume.ckpt`` and ``best.ckpt`` of each run, every file whole or not at all.

    A run is saved after each epoch and within long ones, a stack once a minute, and both if the program is asked to
    stop. Runs that a kill leaves unequally far go on from where each of them is. Of several processes that train a run
    the first one writes, and all do everything else at the same step.
    """

    def __init__(
        self,
        jobs: Sequence[Job],
        diverged: Callable[[int, Diverged], None],
        callbacks: Mapping[str, Callback] | None = None,
    ) -> None:
        """Record runs that are trained together.

        Args:
            jobs: the runs, which have come equally far; what each goes on from is kept up to date.
            diverged: called with the number of each run that diverges; the others go on if it returns.
            callbacks: a user's own, of a run alone, whose states are kept.
        """
        self.jobs, self.diverged, self.callbacks = list(jobs), diverged, callbacks or {}
        self.logs: list[RunLog] = []
        self._best: dict[int, dict[str, Any]] = {}

    def fit(
        self,
        trainer: pl.Trainer,
        training: Training,
        images: Loader | StackedLoader,
        validation: Sequence[Loader],
    ) -> None:
        """Train to the end, from where the runs are.

        Args:
            trainer: Lightning's, with this recorder.
            training: of the networks, which lie where they are trained or are moved there.
            images: to train on.
            validation: each run's validation images, or this process's share of them.

        Raises:
            StoreError: if a checkpoint does not fit.
            Stopped: if the program is asked to stop.
        """
        self.validation, first = validation, self.jobs[0].resume
        training.start = first.epoch, first.batches
        for n, job in enumerate(self.jobs):
            job.resume.load_into(training, n, job.directory)
            job.resume.state, job.resume.sums = {}, []
            is_on = training.share.rank == 0
            strength = job.module.method.strength
            self.logs.append(RunLog(job.cfg, job.directory, strength, job.resume.rows, is_on=is_on))
        for name, state in first.callbacks.items():
            self.callbacks[name].load_state_dict(state)
        if first.is_stopped:
            return
        loop = trainer.fit_loop
        stages = ("ready", "started", "processed", "completed")
        loop.epoch_progress.current.load_state_dict(dict.fromkeys(stages, first.epoch))
        steps = loop.epoch_loop.automatic_optimization.optim_progress.optimizer.step
        steps.total.completed = first.epoch * len(images) + first.batches  # the axis of loggers
        try:
            trainer.fit(training, images)
        except BaseException:
            for log in self.logs:
                log.close()
            raise

    @override
    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._saved = self._looked = time.perf_counter()

    @override
    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Set the epoch of the training images, for each has an order of its own, and the batch to begin at."""
        assert isinstance(pl_module, Training)
        loader_of(trainer).set_epoch(trainer.current_epoch, pl_module.batch_number(0))

    @override
    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Look at the losses now and then; save where it is time to, or if the program is asked to stop.

        After the last batch that waits until the epoch was validated.

        Raises:
            Stopped: if the program is asked to stop.
        """
        assert isinstance(pl_module, Training)
        done, of = pl_module.batch_number(batch_idx) + 1, len(loader_of(trainer))
        if done % CHECK_EVERY == 0 or done == of:
            self._check(trainer, pl_module, done)
        if done == of:
            self._validate(trainer, pl_module)
            return
        is_late, is_stopping = pl_module.share.agree(self._is_late(), stop_requested())
        if is_late or is_stopping:
            self._save(trainer, pl_module, trainer.current_epoch, done)
        if is_stopping:
            raise self._stopped(f"within epoch {trainer.current_epoch + 1}, after {done} of {of} batches")

    def _check(self, trainer: pl.Trainer, training: Training, done: int) -> None:
        sums = training.sums.joined(training.share)
        for n, means in enumerate(sums.means()):
            if training.alive[n] and not math.isfinite(means["loss"]):
                training.end(n)
                self._write(trainer, n)
                self.logs[n].end({})
                self.diverged(n, Diverged(trainer.current_epoch, done - 1))
        trainer.should_stop = not any(training.alive)
        if done == len(loader_of(trainer)):
            training.sums = sums

    def _validate(self, trainer: pl.Trainer, training: Training) -> None:
        """Validate each network and add its row."""
        epoch, means = trainer.current_epoch, training.sums.means()
        for n, job in enumerate(self.jobs):
            if not training.alive[n]:
                continue
            training.share.copy_buffers(job.module.net)
            sums = evaluate(job.module.net, self.validation[n], trainer.precision_plugin)
            job.module.val_sums = sums.joined(training.share)
            row = {"epoch": epoch, "lr": job.module.recipe.lr_at(epoch)}
            row |= {f"train_{name}": value for name, value in means[n].items()}
            row |= {f"val_{name}": value for name, value in job.module.val_sums.counts().items()}
            job.resume.rows = [*job.resume.rows, row]
            self.logs[n].epoch(row)
            if job.cfg.checkpoint == "best" and best_row(job.resume.rows) is row:
                self._best[n] = snapshot(job.directory.id, job.module.net)

    @override
    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save what is due.

        Raises:
            Stopped: if the program is asked to stop.
        """
        assert isinstance(pl_module, Training)
        epoch, of = trainer.current_epoch, trainer.max_epochs
        is_first = epoch == pl_module.start[0]  # soon something to tell the time left from
        (is_stopping,) = pl_module.share.agree(stop_requested())
        self.jobs[0].resume.is_stopped = bool(self.callbacks) and trainer.should_stop
        if is_stopping or is_first or epoch + 1 == of or len(self.jobs) == 1 or self._is_late():
            self._save(trainer, pl_module, epoch + 1, 0)
        if is_stopping:
            raise self._stopped(f"after epoch {epoch + 1} of {of}")

    def _is_late(self) -> bool:
        every = SAVE_EVERY if len(self.jobs) == 1 else SAVE_STACK_EVERY
        return time.perf_counter() - self._saved > every

    def _save(self, trainer: pl.Trainer, training: Training, epoch: int, batches: int) -> None:
        seconds = (time.perf_counter() - self._looked) / max(1, sum(training.alive))
        for n, job in enumerate(self.jobs):
            if training.alive[n]:
                resume = job.resume
                resume.epoch, resume.batches = epoch, batches
                resume.callbacks = {name: callback.state_dict() for name, callback in self.callbacks.items()}
                resume.seconds += seconds
                resume.sums = training.share.gather(training.sums.state(n)) if batches else []
                # Before the checkpoint: a run that is killed in between repeats the epoch and writes the same again.
                self._write(trainer, n)
                if trainer.is_global_zero:
                    resume.write(job.directory, training.state(n))
        training.share.wait()  # who goes on from the checkpoint must not be there before it
        self._looked = self._saved = time.perf_counter()

    def _write(self, trainer: pl.Trainer, n: int) -> None:
        directory, rows = self.jobs[n].directory, self.jobs[n].resume.rows
        best = self._best.pop(n, None)
        if trainer.is_global_zero and best:
            save_checkpoint(directory / "best.ckpt", best)
        if trainer.is_global_zero and rows:
            write_metrics(directory, rows)

    def _stopped(self, where: str) -> Stopped:
        one = f"run {self.jobs[0].directory.id} is"
        who = one if len(self.jobs) == 1 else f"{len(self.jobs)} runs are"
        return Stopped(f"{who} saved {where}; the same command goes on")


def loader_of(trainer: pl.Trainer) -> Loader | StackedLoader:
    """Return what a trainer trains on."""
    assert isinstance(trainer.train_dataloader, Loader | StackedLoader)
    return trainer.train_dataloader


def write_metrics(directory: RunDirectory, rows: Sequence[Mapping[str, float]]) -> None:
    """Write ``metrics.csv``, a row an epoch."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(directory / "metrics.csv", text.getvalue())
