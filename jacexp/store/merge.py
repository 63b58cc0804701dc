"""``runs.csv`` is made from the runs' results: it holds each run once, and a run whose directory is gone as it was."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from jacexp.errors import StoreError
from jacexp.store.runs import RunDirectory, run_directories, write_atomically
from jacexp.store.tables import RUNS, append, csv_line, header, owned


def merge_runs(results: Path, directories: Iterable[RunDirectory] | None = None) -> list[StoreError]:
    """Bring ``runs.csv`` up to date with ``result.json`` of every run that is over.

    Doing so twice, or in many processes at once, changes nothing more, and what a crash left out is made good.

    Args:
        results: the folder of results.
        directories: the runs to look at; None for all of the folder, which takes a while where there are many.

    Returns:
        What is wrong with the results that cannot be read; their rows stay as they are.

    Raises:
        StoreError: if the table has other columns or cannot be written; it is then as it was.
    """
    if not (results / "runs").is_dir():
        return []
    path, rows, damaged = results / "runs.csv", dict[str, bytes](), []
    try:
        with owned(
            path, RUNS
        ) as size:  # results are read inside: a row is never older than the one it replaces
            for directory in run_directories(results) if directories is None else directories:
                try:
                    result = directory.result()
                except StoreError as error:
                    damaged.append(error)
                    continue
                if result:
                    rows[directory.id] = csv_line(result["row"], RUNS)
            if rows:
                before = path.read_bytes() if size else b""
                after = b"".join(_merged(before or header(RUNS), rows))
                if not after.startswith(before):
                    write_atomically(path, after)
                elif after != before:
                    append(path, size, after[size:])
    except OSError as error:
        raise StoreError(
            f"{path} cannot be written ({error}); what is there is kept, so make room and start again"
        ) from error
    return damaged


def _merged(table: bytes, rows: Mapping[str, bytes]) -> Iterator[bytes]:
    """Iterate over a table's records, each run's first one replaced by its row and further ones left out."""
    left = dict(rows)
    for record in _records(table):
        run = record.partition(b",")[0].decode(errors="replace")
        yield left.pop(run, b"") if run in rows else record
    yield from left.values()


def _records(table: bytes) -> Iterator[bytes]:
    """Split a table into its records; a quoted cell may hold line ends."""
    record = b""
    for line in table.splitlines(keepends=True):
        record += line
        if record.count(b'"') % 2 == 0:
            yield record
            record = b""
    yield record
