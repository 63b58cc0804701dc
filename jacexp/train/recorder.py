"""What a run leaves on disk while it trains, and the guard that ends it when its loss is no longer a number."""

import csv
import io
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Checkpoint

from jacexp.data import Loader
from jacexp.errors import StoreError
from jacexp.methods import RegularizedModule
from jacexp.store.checkpoint import RESUME, read_resume, save_network
from jacexp.store.runs import RunDirectory, write_atomically
from jacexp.train.stop import Stopped, stop_requested

SAVE_EVERY = 600.0
"""Seconds of a long epoch between two checkpoints: what a killed run may lose. No number depends on them."""

CHECK_EVERY = 100
"""Steps between two looks at the loss; looking makes the host wait for the device."""


class Diverged(Exception):
    """The loss became NaN or infinite."""

    def __init__(self, epoch: int, step: int) -> None:
        """Take the epoch, counted from 0, and a step of it that is no earlier than the loss's end."""
        super().__init__(epoch, step)
        self.epoch, self.step = epoch, step

    def __str__(self) -> str:
        """Describe it, with epochs and steps counted from 1, as in the lines of progress."""
        return f"the loss is not finite in epoch {self.epoch + 1}, at or before its step {self.step + 1}"


class Recorder(Checkpoint):
    """Writes ``metrics.csv``, ``resume.ckpt`` and ``best.ckpt`` after each epoch, whole or not at all.

    A long epoch is saved within, and so is one during which the program is asked to stop. A run goes on from
    ``resume.ckpt`` as if nothing had been: the rows of ``metrics.csv`` and the sums of the epoch under way travel in
    it, and every draw is named by its epoch and batch.
    """

    def __init__(self, directory: RunDirectory, keep_best: bool) -> None:
        """Take where to write, and whether to keep the epoch of lowest validation loss."""
        self.directory = directory
        self.keep_best = keep_best
        self.rows: list[dict[str, float]] = []
        self.seconds = 0.0
        """What the training so far took, validation included and checkpoints not."""
        self._within: dict[str, Any] | None = None

    def state_dict(self) -> dict[str, Any]:
        """Give the rows so far and, within an epoch, the number of its batches that are done and their sums."""
        state = {"rows": self.rows, "seconds": self.seconds, "within": self._within}
        return {"run": self.directory.id, **state}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the state of the interrupted run."""
        self.rows, self.seconds = state_dict["rows"], state_dict["seconds"]
        self._within = state_dict["within"]

    def resumable(self) -> Path | None:
        """Look for the checkpoint to go on from.

        Returns:
            Its path; None if there is none yet.

        Raises:
            StoreError: if it is damaged or that of another run.
        """
        path, content = self.directory / RESUME, read_resume(self.directory)
        if content is None:
            return None
        try:
            run = content["callbacks"][self.state_key]["run"]
        except (KeyError, TypeError):
            run = None
        if run != self.directory.id:
            raise StoreError(
                f"{path} is not a checkpoint of run {self.directory.id}; delete it and train again"
            )
        return path

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Go on within the epoch in which the run was interrupted; Lightning does not start such an epoch again."""
        self._started = self._saved = time.perf_counter()
        if self._within:
            assert isinstance(pl_module, RegularizedModule)
            assert isinstance(trainer.train_dataloader, Loader)
            trainer.train_dataloader.set_epoch(trainer.current_epoch, start=self._within["batches"])
            states = [self._within["sums"], *self._within.get("others", [])]
            share = pl_module.share
            for state in states[
                share.rank :: share.world_size
            ]:  # there may have been more processes, or fewer
                pl_module.sums.load_state_dict(state, pl_module.device)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002
        """Look at the clock, and tell the training images which epoch it is, for each has an order of its own."""
        self._started = time.perf_counter()
        assert isinstance(trainer.train_dataloader, Loader)
        trainer.train_dataloader.set_epoch(trainer.current_epoch)

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,  # noqa: ARG002
        batch: Any,  # noqa: ARG002
        batch_idx: int,
    ) -> None:
        """Look at the loss now and then; save where it is time to, or if the program is asked to stop.

        After the last batch that waits until the epoch was validated. Several processes do all this at the same step.

        Raises:
            Diverged: if the loss is not finite.
            Stopped: if the program is asked to stop.
        """
        assert isinstance(pl_module, RegularizedModule)
        done, of = batch_idx + 1, trainer.num_training_batches
        if done % CHECK_EVERY == 0 or done == of:
            sums = pl_module.sums.joined(pl_module.share, pl_module.device)
            if not math.isfinite(sums.means()["loss"]):
                raise Diverged(trainer.current_epoch, batch_idx)
        if done == of:
            pl_module.sums = sums
            return
        is_late = time.perf_counter() - self._saved > SAVE_EVERY
        is_late, is_stopping = pl_module.share.agree(is_late, stop_requested())
        if is_late or is_stopping:
            own, *others = pl_module.share.gather(pl_module.sums.state_dict())
            self._within = {"batches": done, "sums": own, "others": others}
            self._save(trainer)
        if is_stopping:
            raise self._stopped(f"within epoch {trainer.current_epoch + 1}, after {done} of {of} batches")

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the epoch's row and checkpoints; of several processes, the first one does.

        Raises:
            Stopped: if the program is asked to stop.
        """
        assert isinstance(pl_module, RegularizedModule)
        epoch = trainer.current_epoch
        means = {f"train_{name}": value for name, value in pl_module.sums.means().items()}
        counts = {f"val_{name}": value for name, value in pl_module.val_sums.counts().items()}
        self.rows = [*self.rows, {"epoch": epoch, "lr": pl_module.recipe.lr_at(epoch), **means, **counts}]
        if trainer.is_global_zero:
            if self.keep_best and best_row(self.rows) is self.rows[-1]:
                save_network(self.directory, "best", pl_module.net)
            # Before the checkpoint: a run that is killed in between repeats the epoch and writes the same once more.
            write_metrics(self.directory, self.rows)
        self._within = None
        self._save(trainer)
        if any(pl_module.share.agree(stop_requested())):
            raise self._stopped(f"after epoch {epoch + 1} of {trainer.max_epochs}")

    def _save(self, trainer: pl.Trainer) -> None:
        self.seconds += time.perf_counter() - self._started
        trainer.save_checkpoint(self.directory / RESUME)
        self._started = self._saved = time.perf_counter()

    def _stopped(self, where: str) -> Stopped:
        return Stopped(f"run {self.directory.id} is saved {where}; the same command goes on")


def best_row(rows: Sequence[Mapping[str, float]]) -> Mapping[str, float]:
    """Give the row of the epoch with the lowest validation loss, the first of equals."""
    return min(rows, key=lambda row: row["val_loss"])


def write_metrics(directory: RunDirectory, rows: Sequence[Mapping[str, float]]) -> None:
    """Write ``metrics.csv``, a row an epoch."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(directory / "metrics.csv", text.getvalue())
