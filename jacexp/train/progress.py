"""What a person sees while a network trains."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback, ProgressBar, TQDMProgressBar

from jacexp.train.training import Training

_in_sweep = ContextVar("in_sweep", default=False)


@contextmanager
def in_sweep() -> Iterator[None]:
    """Let a sweep speak for its runs: inside, they print nothing unless ``progress=bar`` or ``lines`` asks for it."""
    token = _in_sweep.set(True)
    try:
        yield
    finally:
        _in_sweep.reset(token)


def say(text: str) -> None:
    """Print how a run went; within a sweep the launcher does."""
    if not _in_sweep.get():
        print(text)


class Bar(TQDMProgressBar):
    """A progress bar with the epoch's running loss, penalty and accuracy."""

    def get_metrics(
        self,
        trainer: pl.Trainer,  # noqa: ARG002  # Lightning's signature
        pl_module: pl.LightningModule,
    ) -> dict[str, int | str | float | dict]:  # type: ignore[type-arg]
        """Return this process's means of the epoch so far; the sums stay on the device between two refreshes."""
        assert isinstance(pl_module, Training)
        (means,) = pl_module.sums.means()
        return {name: f"{means[name]:.4g}" for name in ("loss", "penalty", "accuracy") if name in means}


class Lines(Callback):
    """One line an epoch, for a log file."""

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the line of an epoch."""
        assert isinstance(pl_module, Training)
        assert pl_module.val_sums
        (means,), counts = pl_module.sums.means(), pl_module.val_sums.counts()
        print(
            f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}: loss {means['loss']:.4f}, "
            f"penalty {means['penalty']:.4g}, accuracy {means['accuracy']:.2%}; "
            f"validation loss {counts['loss']:.4f}, accuracy {counts['n_correct'] / counts['n']:.2%}"
        )


def is_in_sweep() -> bool:
    """Return whether this process trains runs of a sweep, which says itself what is to be said once."""
    return _in_sweep.get()


def chosen_progress(kind: str) -> str:
    """Resolve ``progress=auto``: a bar in a terminal, lines elsewhere, and off in a sweep, which has its own line."""
    if kind != "auto":
        return kind
    alone = "bar" if sys.stdout.isatty() else "lines"
    return "off" if _in_sweep.get() else alone


def progress_callbacks(kind: str) -> list[Callback | ProgressBar]:
    """Make Lightning's callbacks for what ``progress=`` asks for."""
    made: dict[str, list[Any]] = {"bar": [Bar(refresh_rate=20)], "lines": [Lines()], "off": []}
    return made[chosen_progress(kind)]
