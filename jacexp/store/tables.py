"""The stored tables: their columns, what the cells hold, and how rows are added.

``results/README.md`` says what each column means.
"""

import csv
import io
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock

from jacexp.errors import StoreError

Kind = Literal["key", "text", "count", "number"]
"""``key``: text, never empty. ``text``: may be empty. ``count``, ``number``: whole, real; may be empty."""

STRENGTHS: Mapping[str, Kind] = {"lam": "number", "beta": "number", "epsilon": "number"}

PROVENANCE: Mapping[str, Kind] = {
    **dict.fromkeys(("device", "versions", "git", "command"), "text"),
    "started": "key",  # the last column: a row that was cut short lacks it
}

RUNS: Mapping[str, Kind] = {
    **dict.fromkeys(("run", "dataset", "model", "method", "protocol", "select"), "key"),
    "seed": "count",
    **STRENGTHS,
    "options": "text",
    "lr": "number",
    "momentum": "number",
    "batch_size": "count",
    "n_epochs": "count",
    "subset": "count",
    **dict.fromkeys(("augment", "precision", "checkpoint"), "text"),
    "status": "key",
    **dict.fromkeys(("epoch", "n_train", "n_val", "n_val_correct"), "count"),
    "val_loss": "number",
    **dict.fromkeys(("n_test", "n_test_correct"), "count"),
    "test_loss": "number",
    "train_s": "number",
    "data": "text",
    **PROVENANCE,
}
"""``runs.csv``: one row a run; counts, never percentages."""

CONFIG = (
    *("dataset", "model", "method", "protocol", "select", "seed", "lam", "beta", "epsilon", "options", "lr"),
    *("momentum", "batch_size", "n_epochs", "subset", "augment", "precision", "checkpoint"),
)
"""The columns of ``runs.csv`` that say what was trained, not what came of it."""

MEASURED = frozenset(
    ("epoch", "n_val", "n_val_correct", "val_loss", "n_test", "n_test_correct", "test_loss", "train_s")
)
"""The columns of ``runs.csv`` that only a run that is done has."""

CURVES: Mapping[str, Kind] = {
    **dict.fromkeys(("run", "dataset", "model", "method"), "key"),
    "seed": "count",
    **STRENGTHS,
    "eval": "key",
    "variable": "text",
    "value": "number",
    "threat": "text",
    **dict.fromkeys(("n", "n_correct"), "count"),
    **dict.fromkeys(("mean", "std", "min", "max"), "number"),
    **dict.fromkeys(("statistic", "check", "settings"), "text"),
    **PROVENANCE,
}
"""``curves.csv``: one row a point of an evaluation's curve."""

TIMING: Mapping[str, Kind] = {
    **dict.fromkeys(("name", "model", "method"), "key"),
    "engine": "text",
    **dict.fromkeys(("batch_size", "n_networks"), "count"),
    **dict.fromkeys(("seconds", "ratio", "floor", "memory_mb"), "number"),
    **dict.fromkeys(("threads", "n_repeats"), "count"),
    **PROVENANCE,
}
"""``timing.csv``: one row a measured step."""

DISTANCES: Mapping[str, Kind] = {"index": "count", "distance": "number", "found": "text"}
"""``samples/boundary-<run>.csv.gz``: one row a test image that the run classifies correctly."""


def append_rows(path: Path, rows: Iterable[Mapping[str, Any]], columns: Iterable[str]) -> None:
    """Append rows to a table; many processes may do so at once, and a reader never sees half a row.

    Args:
        path: the CSV file, made with its header if it is not there.
        rows: one mapping a row; an absent column is left empty.
        columns: the columns of the table.

    Raises:
        StoreError: if the file has other columns, or a row has a column that the table lacks.
        OSError: if the file cannot be written; it is then as it was.
    """
    columns = list(columns)
    with owned(path, columns) as size:
        try:
            lines = [csv_line(row, columns) for row in rows]
        except ValueError as error:
            raise StoreError(f"{path}: {error}") from error
        append(path, size, b"".join([*([] if size else [header(columns)]), *lines]))


def check_table(path: Path, columns: Iterable[str]) -> None:
    """Find out, before there are any rows, whether they could be appended.

    Raises:
        StoreError: if the file has other columns, or cannot be written.
    """
    try:
        with owned(path, columns):
            pass
    except OSError as error:
        raise StoreError(
            f"{path} cannot be written ({error}); choose another folder with paths.results=DIR"
        ) from error


@contextmanager
def owned(path: Path, columns: Iterable[str]) -> Iterator[int]:
    """Lock a table inside, and cut off a last line that a crash left without its end.

    Yields:
        The size of the file in bytes, 0 if it is not there.

    Raises:
        StoreError: if the table has other columns.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(f".{path.name}.lock")):
        yield _check_table(path, list(columns)) if path.exists() and path.stat().st_size else 0


def append(path: Path, size: int, content: bytes) -> None:
    """Append to a table that is owned, of so many bytes.

    Raises:
        OSError: if the file cannot be written; it is then as it was.
    """
    file = path.open("ab")
    try:
        with file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        os.truncate(path, size)
        raise


def header(columns: Iterable[str]) -> bytes:
    """Return a table's first line."""
    return (",".join(columns) + "\n").encode()


def csv_line(row: Mapping[str, Any], columns: Iterable[str]) -> bytes:
    """Return a row as it stands in a table.

    Raises:
        ValueError: for a column that the table lacks.
    """
    text = io.StringIO()
    csv.DictWriter(text, list(columns), lineterminator="\n").writerow(row)
    return text.getvalue().encode()


def _check_table(path: Path, columns: Sequence[str]) -> int:
    """Refuse a table with other columns, cut off an unfinished last line, return the size."""
    with path.open("rb+") as file:
        found = file.readline().decode(errors="replace").rstrip("\r\n").split(",")
        if found != columns:
            raise StoreError(f"{path} has the columns {found}, not {columns}; move it away")
        file.seek(-1, os.SEEK_END)
        if file.read() != b"\n":
            file.seek(0)
            file.truncate(file.read().rfind(b"\n") + 1)
        return file.seek(0, os.SEEK_END)
