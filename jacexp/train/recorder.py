"""What a run leaves on disk while it trains, and the guard that ends it when its loss is no longer a number."""

import csv
import io
import math
import time
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Checkpoint

from jacexp.data import Loader
from jacexp.methods import RegularizedModule
from jacexp.store import RunDirectory, save_network, write_atomically

CHECK_EVERY = 100
"""Steps between two looks at the loss; looking makes the host wait for the device."""


class Diverged(Exception):
    """The loss became NaN or infinite."""

    def __init__(self, epoch: int, step: int) -> None:
        """Say in which epoch, counted from 0, and by which step of it."""
        super().__init__(f"the loss is not finite in epoch {epoch}, at or before its step {step}")
        self.epoch = epoch


class Recorder(Checkpoint):
    """Writes ``metrics.csv``, ``resume.ckpt`` and ``best.ckpt`` after each epoch, whole or not at all.

    The rows of ``metrics.csv`` travel in the checkpoint, so that the two always tell the same story after a crash.
    """

    def __init__(self, directory: RunDirectory, keep_best: bool) -> None:
        """Take where to write, and whether to keep the epoch of lowest validation loss."""
        self.directory = directory
        self.keep_best = keep_best
        self.rows: list[dict[str, float]] = []
        self.seconds = 0.0
        """What the epochs so far took, validation included."""

    def state_dict(self) -> dict[str, Any]:
        """Give the rows so far."""
        return {"rows": self.rows, "seconds": self.seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the rows of the interrupted run."""
        self.rows, self.seconds = state_dict["rows"], state_dict["seconds"]

    @property
    def best(self) -> dict[str, float]:
        """The row of the epoch with the lowest validation loss, the first of equals."""
        return min(self.rows, key=lambda row: row["val_loss"])

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
        """Look at the loss now and then."""
        if (batch_idx + 1) % CHECK_EVERY == 0 or batch_idx + 1 == trainer.num_training_batches:
            assert isinstance(pl_module, RegularizedModule)
            if not math.isfinite(pl_module.sums.means()["loss"]):
                raise Diverged(trainer.current_epoch, batch_idx)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the epoch's row and checkpoints."""
        assert isinstance(pl_module, RegularizedModule)
        epoch = trainer.current_epoch
        means = {f"train_{name}": value for name, value in pl_module.sums.means().items()}
        counts = {f"val_{name}": value for name, value in pl_module.val_sums.counts().items()}
        self.rows = [*self.rows, {"epoch": epoch, "lr": pl_module.recipe.lr_at(epoch), **means, **counts}]
        self.seconds += time.perf_counter() - self._started
        if self.keep_best and self.best is self.rows[-1]:
            save_network(self.directory / "best.ckpt", pl_module.net)
        partial = self.directory / ".resume.ckpt.partial"
        trainer.save_checkpoint(partial)
        partial.replace(self.directory / "resume.ckpt")
        self._write_metrics()

    def _write_metrics(self) -> None:
        text = io.StringIO()
        writer = csv.DictWriter(text, list(self.rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        write_atomically(self.directory / "metrics.csv", text.getvalue())
