"""The epochs of runs, from ``metrics.csv`` of those whose directories are there."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from jacexp.errors import StoreError
from jacexp.report.schema import Store


def read_epochs(store: Store, runs: Sequence[str]) -> tuple[dict[str, pd.DataFrame], list[str]]:
    """Read the epochs of runs.

    Returns:
        One row an epoch, by run: the columns of ``metrics.csv``, ``val_accuracy`` and ``val_error`` in percent, and
        what points of a curve have, ``run``, ``value`` (the epoch, counted from 1) and ``check``; and what is damaged,
        one sentence each.
    """
    found, damaged = {}, []
    for run in runs:
        path = store.folder_of(run) / "runs" / run / "metrics.csv"
        if not path.is_file():
            continue
        try:
            table = _read(path)
        except StoreError as error:
            damaged.append(str(error))
            continue
        if len(table):
            found[run] = table.assign(run=run)
    return found, damaged


def _read(path: Path) -> pd.DataFrame:
    try:
        table = pd.read_csv(path).astype(float)
        accuracy = 100 * table["val_n_correct"] / table["val_n"]
        return table.assign(
            val_accuracy=accuracy, val_error=100 - accuracy, value=table["epoch"] + 1, check=""
        )
    except (OSError, ValueError, KeyError) as error:
        raise StoreError(
            f"{path} is damaged ({' '.join(str(error).split())}); its curves are left out"
        ) from error
