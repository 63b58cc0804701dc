"""The stored tables as DataFrames: each column known, each value of its type, or one error that says where not."""

import csv
import gzip
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from jacexp.errors import StoreError
from jacexp.store.tables import CONFIG, CURVES, DISTANCES, RUNS, TIMING, Kind

POINT = ("run", "eval", "variable", "value", "statistic", "threat", "settings")
"""The columns of ``curves.csv`` that say what was measured, not what came of it."""

STATUSES = {"done", "diverged", "failed"}


@dataclass(frozen=True)
class Store:
    """The tables of one folder of results, or of a user's and the reference together."""

    root: Path
    """The folder of results, the user's of two."""
    runs: pd.DataFrame
    curves: pd.DataFrame
    timing: pd.DataFrame
    notes: tuple[str, ...] = field(default=())
    """What was put aside while reading, one sentence each."""
    reference: Path | None = None
    """The folder of the reference, where its rows are among these."""
    yours: frozenset[str] = frozenset()
    """The runs that are the user's, where those of the reference are there too."""
    damage: str = ""
    """Why the user's tables are left out, where they are damaged."""

    def folder_of(self, run: str) -> Path:
        """Return the folder of results that a run is from."""
        return self.root if self.reference is None or run in self.yours else self.reference

    def distances_path(self, run: str) -> Path:
        """Name the file with the boundary distances of one run."""
        return self.folder_of(run) / "samples" / f"boundary-{run}.csv.gz"

    def distances(self, run: str) -> pd.DataFrame | None:
        """Read the boundary distances of one run.

        Returns:
            One row a test image; None where none are stored.

        Raises:
            StoreError: for a file that is damaged, has other columns, or names an image twice.
        """
        path = self.distances_path(run)
        if not path.exists():
            return None
        table = read_table(path, DISTANCES, last="found")
        if table["index"].duplicated().any():
            raise StoreError(f"{path}: an image is named twice; evaluate the run again")
        return table


def read_store(root: Path, *, may_be_empty: bool = False) -> Store:
    """Read every table of a folder of results; a table that is not there is an empty one.

    Args:
        root: the folder.
        may_be_empty: do without a single row.

    Returns:
        The tables, without duplicates.

    Raises:
        StoreError: if no table has a row and one is needed, or a table has a wrong column, type or end.
    """
    runs = read_table(root / "runs.csv", RUNS)
    curves = read_table(root / "curves.csv", CURVES)
    timing = read_table(root / "timing.csv", TIMING)
    if runs.empty and curves.empty and timing.empty and not may_be_empty:
        raise StoreError(
            f"{root}: there is no result here yet: runs.csv, curves.csv and timing.csv are missing or empty. "
            "Train something first (python train.py +method=spec) or name another folder (paths.results=DIR)"
        )
    unknown = sorted(set(runs["status"]) - STATUSES)
    if unknown:
        raise StoreError(
            f"{root / 'runs.csv'}: unknown status {unknown[0]!r}; it is one of {sorted(STATUSES)}"
        )
    runs, notes = without_duplicates(runs)
    return Store(root, runs, curves.drop_duplicates(POINT, keep="last"), timing, tuple(notes))


def without_duplicates(runs: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Keep the last row of each run, and the last started of several runs whose every setting is the same.

    Returns:
        The rows that count, in the order of the file, and one sentence for each row that does not.
    """
    again = runs["run"].duplicated(keep="last")
    times = runs["run"].value_counts()
    notes = [
        f"run {run} is stored {times[run]} times; the last row counts"
        for run in sorted(set(runs["run"][again]))
    ]
    runs = runs[~again]
    config = list(CONFIG)
    ordered = runs.sort_values(["started", "run"], kind="stable")
    for _, alike in ordered.groupby(config, dropna=False, sort=False)["run"]:
        *earlier, last = alike
        notes += [
            f"run {run} has the settings and seed of run {last}, started later, which counts"
            for run in earlier
        ]
    return runs.drop(ordered.index[ordered.duplicated(config, keep="last")]), notes


def read_table(path: Path, schema: Mapping[str, Kind], last: str = "started") -> pd.DataFrame:
    """Read one CSV, gzipped where its name says so.

    Args:
        path: the file; one that does not exist reads as a table without rows.
        schema: the columns, all of which must be there and no others.
        last: a column at the end of each row that is never empty, so that a row cut short shows.

    Returns:
        The columns in the order of the schema.

    Raises:
        StoreError: for a missing or foreign column, a value of another type, or a file that ends within a row.
    """
    if not path.exists():
        return _typed(pd.DataFrame(columns=list(schema), dtype=str), schema, path)
    text = _text(path)
    if not text:
        raise StoreError(f"{path}: the file is empty, without even a header; delete it, or copy it again")
    if not text.endswith("\n"):
        raise StoreError(f"{path}: the file ends within a row; cut the last line off, or copy the file again")
    try:
        rows = list(csv.reader(io.StringIO(text), strict=True))
    except csv.Error as error:
        raise StoreError(f"{path}: not a CSV file: {error}") from error
    header = rows[0]
    _check_header(path, header, schema)
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != len(header) or row[header.index(last)] == "":
            raise StoreError(
                f"{path}, row {number}: {len(row)} of {len(header)} values, or none for {last!r}"
            )
    return _typed(pd.DataFrame(rows[1:], columns=header, dtype=str), schema, path)


def _text(path: Path) -> str:
    try:
        raw = path.read_bytes()
        return (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode("utf-8")
    except (EOFError, gzip.BadGzipFile, UnicodeDecodeError, OSError) as error:
        raise StoreError(f"{path}: cannot be read ({error}); copy the file again") from error


def _check_header(path: Path, header: list[str], schema: Mapping[str, Kind]) -> None:
    missing = [c for c in schema if c not in header]
    foreign = [c for c in header if c not in schema]
    wrong = [f"lacks the {_columns(missing)}"] if missing else []
    wrong += [f"has a foreign {_columns(foreign)}"] if foreign else []
    if wrong or len(set(header)) != len(header):
        reason = " and ".join(wrong) or "names a column twice"
        raise StoreError(
            f"{path}: the table {reason}; it was written by another version of jacexp, or by hand"
        )


def _columns(names: list[str]) -> str:
    return f"column {names[0]!r}" + (f" and {len(names) - 1} others" if len(names) > 1 else "")


def _typed(table: pd.DataFrame, schema: Mapping[str, Kind], path: Path) -> pd.DataFrame:
    return pd.DataFrame({name: _column(table[name], kind, path) for name, kind in schema.items()})


def _column(texts: pd.Series, kind: Kind, path: Path) -> pd.Series:
    if kind == "text":
        return texts
    if kind == "key":
        return _checked(texts, texts, texts == "", path, "must not be empty")
    numbers = pd.to_numeric(texts.where(texts != "", "nan"), errors="coerce").astype(float)
    bad = numbers.isna() & ~texts.str.lower().isin(["", "nan"])
    if kind == "count":
        bad |= numbers.notna() & (numbers % 1 != 0)
    return _checked(
        numbers, texts, bad, path, "is not a number" if kind == "number" else "is not a whole number"
    )


def _checked(values: pd.Series, texts: pd.Series, bad: pd.Series, path: Path, reason: str) -> pd.Series:
    if bad.any():
        at = int(bad.to_numpy().argmax())
        raise StoreError(f"{path}, row {at + 2}: {texts.name} = {texts.iloc[at]!r} {reason}")
    return values
