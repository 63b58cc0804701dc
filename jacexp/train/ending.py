"""How a run's end reaches the disk: its row in ``runs.csv`` and ``result.json``, once, whatever kills the process.

The result is first put aside whole. A process that dies after that has left all that is to be recorded, and whoever
takes up the run next records it.
"""

from typing import Any

from jacexp.store.runs import RunDirectory, write_json
from jacexp.store.tables import RUNS, append_rows

PENDING = ".ending.json"
"""The result of a run until its row stands in ``runs.csv``; then it becomes ``result.json``."""


def record(directory: RunDirectory, result: dict[str, Any]) -> None:
    """Write a run's row to ``runs.csv`` and then, last of all, ``result.json``; the run must be locked.

    Args:
        directory: the run.
        result: how it ended; its ``row`` holds the columns of ``runs.csv``.

    Raises:
        OSError: if the disk is full; nothing is half written, and `settle` goes on.
    """
    write_json(directory / PENDING, result)
    _publish(directory, result)


def settle(directory: RunDirectory) -> dict[str, Any] | None:
    """Finish what a process that died may have left unrecorded; the run must be locked.

    Returns:
        How the run ended; None if it is not over.

    Raises:
        StoreError: if a file is not one of jacexp's.
    """
    pending = directory.result(PENDING)
    if pending:
        _publish(directory, pending, if_absent=True)
    return directory.result()


def _publish(directory: RunDirectory, result: dict[str, Any], *, if_absent: bool = False) -> None:
    append_rows(directory.path.parents[1] / "runs.csv", [result["row"]], RUNS, if_absent=if_absent)
    (directory / PENDING).replace(directory / "result.json")
