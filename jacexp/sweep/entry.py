"""An entry: one job of a sweep, as the sweep and its manifest list it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jacexp.errors import JacexpError, StoreError
from jacexp.store.runs import RunDirectory

if TYPE_CHECKING:
    from jacexp.train.job import Job


@dataclass(eq=False)
class Entry:
    """One job of a sweep."""

    overrides: str
    """What the job has beside the sweep's other jobs, as words of a command line."""
    run: RunDirectory | None = None
    """Where its files lie; None for a configuration that cannot be run."""
    epochs: int = 0
    before: int = 0
    """Epochs that the run had behind it when the sweep began."""
    error: JacexpError | None = None
    """Why it has no result; a result that is there counts more."""
    job: "Job | None" = None
    """What would be trained; None for a configuration that cannot be run, or an entry that was read."""
    alone: bool = False
    """Its group failed as a whole, so it is tried without the others."""

    def over(self) -> dict[str, Any] | None:
        """Read how the run ended; None if it has not, or failed, or if what it left cannot be read."""
        try:
            return self.run.over() if self.run else None
        except StoreError as error:
            self.error = self.error or error
            return None

    def held(self) -> bool:
        """Return whether a process is training the run."""
        return self.run is not None and self.run.held()

    def listed(self) -> dict[str, Any]:
        """Return what a manifest says of it, ready for JSON."""
        run, error = self.run and self.run.id, self.error and str(self.error)
        return {
            "run": run,
            "overrides": self.overrides,
            "epochs": self.epochs,
            "error": error,
            "before": self.before,
        }

    @classmethod
    def read(cls, listed: dict[str, Any], runs: Path) -> "Entry":
        """Make the entry of which a manifest says so, with runs that lie in a folder.

        Returns:
            The entry.

        Raises:
            KeyError: if the manifest lacks a part.
        """
        run, error = listed["run"], listed["error"]
        return cls(
            listed["overrides"],
            RunDirectory(runs / run) if run else None,
            listed["epochs"],
            listed.get("before", 0),
            JacexpError(error) if error else None,
        )


Group = Sequence[Entry]
"""Entries whose runs are trained together; often one."""
