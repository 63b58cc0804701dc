"""What an interrupted run goes on from, ``resume.ckpt``, whether it is trained alone or in a stack."""

from dataclasses import dataclass, field
from typing import Any

from jacexp.errors import StoreError
from jacexp.store.checkpoint import RESUME, read_checkpoint, save_checkpoint
from jacexp.store.runs import RunDirectory
from jacexp.train.training import Training

REMEDY = "delete it and train again"


@dataclass
class Resume:
    """How far a run has come. Every draw is named by its epoch and batch, so nothing else is needed to go on."""

    epoch: int = 0
    batches: int = 0
    """Batches of that epoch that are done."""
    rows: list[dict[str, float]] = field(default_factory=list)
    """Of ``metrics.csv``, one an epoch."""
    seconds: float = 0.0
    """What the training took, validation included and checkpoints not."""
    sums: list[dict[str, Any]] = field(default_factory=list)
    """Over the batches that are done, one a process."""
    is_stopped: bool = False
    """Whether a callback has ended the training after that epoch."""
    callbacks: dict[str, Any] = field(default_factory=dict)
    """The states of a user's callbacks by name."""
    state: dict[str, Any] = field(default_factory=dict)
    """The tensors of the training; none at the start."""

    @classmethod
    def read(cls, directory: RunDirectory) -> "Resume":
        """Read how far a run has come.

        Returns:
            What it goes on from; the start if it has not begun.

        Raises:
            StoreError: for a checkpoint that is damaged, another run's or another version's.
        """
        path = directory / RESUME
        if not path.exists():
            return cls()
        content = read_checkpoint(path, REMEDY)
        try:
            owner = content.pop("run")
            found = cls(**content)
        except (KeyError, TypeError):
            owner = None
        if owner != directory.id:
            raise StoreError(f"{path} is not a checkpoint of run {directory.id}; {REMEDY}")
        return found

    def write(self, directory: RunDirectory, state: dict[str, Any]) -> None:
        """Write it with the present tensors of the training, whole or not at all."""
        save_checkpoint(directory / RESUME, {**vars(self), "run": directory.id, "state": state})

    def load_into(self, training: Training, n: int, directory: RunDirectory) -> None:
        """Restore network n of a training.

        Raises:
            StoreError: if the network is another one.
        """
        own = self.sums[training.share.rank :: training.share.world_size]  # of more processes, or of fewer
        try:
            if self.state:
                training.load_state(n, self.state)
            if self.batches:
                training.sums.load_state(n, own)
        except (KeyError, RuntimeError, TypeError, ValueError) as error:
            raise StoreError(f"{directory / RESUME} is of another network; {REMEDY}") from error
