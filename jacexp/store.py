"""Run directories and tidy tables on disk.

A run is a directory named by the hash of its scientific configuration. ``result.json`` is written last and
atomically: it is there if and only if the run is over.
"""

import csv
import hashlib
import io
import json
import os
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from jacexp.errors import RunLockedError, StoreError
from jacexp.lock import LOCK, PROBE_S, is_held
from jacexp.models import Network, build


def run_id(science: Mapping[str, Any]) -> str:
    """Name a run by its scientific configuration: the first 12 hex digits of SHA-256 over its canonical JSON."""
    canonical = json.dumps(science, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]


class RunDirectory:
    """The files of one run.

    ``config.yaml``, ``metrics.csv`` (a row an epoch), ``last.ckpt`` and ``best.ckpt`` (networks), ``resume.ckpt``
    (what an interrupted run goes on from) and ``result.json``.
    """

    def __init__(self, path: Path) -> None:
        """Take the directory, which need not exist yet."""
        self.path = path

    @property
    def id(self) -> str:
        """The name of the run."""
        return self.path.name

    def __truediv__(self, name: str) -> Path:
        """Give the path of one of the run's files."""
        return self.path / name

    def result(self, name: str = "result.json") -> dict[str, Any] | None:
        """Read how the run ended.

        Returns:
            The content of the file; None if there is none.

        Raises:
            StoreError: if it is not one of jacexp's.
        """
        try:
            result = json.loads((self / name).read_bytes())
            result["status"], result["row"], result["dataset"]
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(
                f"{self / name} is damaged or foreign ({error!r}); delete it to run {self.id} again"
            ) from error
        return result

    def over(self) -> dict[str, Any] | None:
        """Read how the run ended, as `result` does; None also for one that failed, for that is tried again."""
        result = self.result()
        return None if result is None or result["status"] == "failed" else result

    def held(self) -> bool:
        """Say whether a process owns the run."""
        return is_held(self / LOCK)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Own the run while inside; a lock goes with the process that held it, however that ended.

        Raises:
            RunLockedError: if another process owns it.
            StoreError: if the directory cannot be written.
        """
        lock = FileLock(self / LOCK, timeout=PROBE_S, poll_interval=PROBE_S / 10)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        except Timeout as error:
            raise RunLockedError(f"run {self.id} is being trained by another process") from error
        except OSError as error:
            raise StoreError(
                f"{self.path} cannot be written ({error}); choose another folder with paths.results=DIR"
            ) from error
        try:
            yield
        finally:
            lock.release()

    def tidy(self) -> None:
        """Remove what only a run that is not over needs, and what killed processes left half written."""
        for path in (self / "resume.ckpt", *self.path.glob(".*.partial")):
            path.unlink(missing_ok=True)


def write_atomically(path: Path, content: str | bytes | memoryview) -> None:
    """Put a file into place whole or not at all, also when the power fails or the disk is full."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file atomically."""
    write_atomically(path, json.dumps(content, indent=2) + "\n")


def append_rows(
    path: Path, rows: Iterable[Mapping[str, Any]], columns: Iterable[str], *, if_absent: bool = False
) -> None:
    """Append rows to a table; many processes may do so at once, and a reader never sees half a row.

    Args:
        path: the CSV file, made with its header if it is not there.
        rows: one mapping a row; an absent column is left empty.
        columns: the columns of the table.
        if_absent: leave out the rows that the table has, to the last character.

    Raises:
        StoreError: if the file has other columns, or a row has a column that the table lacks.
        OSError: if the file cannot be written; it is then as it was.
    """
    columns = list(columns)
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(f".{path.name}.lock")):
        size = _check_table(path, columns) if path.exists() and path.stat().st_size else 0
        try:
            lines = [_csv_line(row, columns) for row in rows]
        except ValueError as error:
            raise StoreError(f"{path}: {error}") from error
        if if_absent and size:
            stored = path.read_bytes()
            lines = [line for line in lines if b"\n" + line not in stored]
        header = b"" if size else (",".join(columns) + "\n").encode()
        file = path.open("ab")
        try:
            with file:
                file.write(header + b"".join(lines))
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            os.truncate(path, size)
            raise


def _csv_line(row: Mapping[str, Any], columns: Sequence[str]) -> bytes:
    text = io.StringIO()
    csv.DictWriter(text, columns, lineterminator="\n").writerow(row)
    return text.getvalue().encode()


def _check_table(path: Path, columns: Sequence[str]) -> int:
    """Refuse a table with other columns, cut off a last line that a crash left without its end, give the length."""
    with path.open("rb+") as file:
        header = file.readline().decode(errors="replace").rstrip("\r\n").split(",")
        if header != columns:
            raise StoreError(f"{path} has the columns {header}, not {columns}; move it away")
        file.seek(-1, os.SEEK_END)
        if file.read() != b"\n":
            file.seek(0)
            file.truncate(file.read().rfind(b"\n") + 1)
        return file.seek(0, os.SEEK_END)


def finished_runs(results: Path) -> Iterator[tuple[RunDirectory, dict[str, Any]]]:
    """Go through the run directories below a results folder that are over, in the order of their names."""
    folder = results / "runs"
    if not folder.is_dir():
        return
    with os.scandir(folder) as entries:
        paths = sorted(entry.path for entry in entries if entry.is_dir())
    for path in paths:
        directory = RunDirectory(Path(path))
        result = directory.result()
        if result is not None:
            yield directory, result


def save_checkpoint(path: Path, content: Mapping[str, Any]) -> None:
    """Write a checkpoint, whole or not at all."""
    file = io.BytesIO()  # torch.save to a path would hide that the disk is full behind a RuntimeError
    torch.save(content, file)
    write_atomically(path, file.getbuffer())


def snapshot(net: Network) -> dict[str, Any]:
    """Copy what makes a network again: its weights, and how to build it."""
    # Copies, for a weight may be a view of a whole stack's, all of which would be saved with it.
    weights = {name: t.detach().clone() for name, t in net.state_dict().items()}
    return {"network": net.origin, "state_dict": weights}


def save_network(path: Path, net: Network) -> None:
    """Write a network's weights and how to build it, whole or not at all."""
    save_checkpoint(path, snapshot(net))


def load_network(directory: RunDirectory, checkpoint: str = "last") -> Network:
    """Load the network that a run ended with, in eval mode on the CPU. Nothing in the file is executed.

    Args:
        directory: the run.
        checkpoint: ``last`` or ``best``.

    Returns:
        The network.

    Raises:
        StoreError: if the checkpoint is missing, truncated or not one of jacexp's.
    """
    path = directory / f"{checkpoint}.ckpt"
    content = read_checkpoint(path)
    try:
        state = content["state_dict"]
        mean, std = state["normalize.mean"], state["normalize.std"]
        net = build(**content["network"], mean=mean, std=std, seed=0)
        net.load_state_dict(state)
    except (KeyError, TypeError, RuntimeError) as error:
        raise StoreError(
            f"{path} is not a checkpoint of jacexp's ({error!r}); delete {directory.path}"
        ) from error
    return net.eval()


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint without executing what it says.

    Returns:
        Its content, with tensors on the CPU.

    Raises:
        StoreError: if it is missing, truncated or not a checkpoint.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            is_whole = archive.testzip() is None  # torch.load itself does not look at the checksums
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise StoreError(f"{path} is missing, so the run cannot be evaluated; train it again") from error
    except Exception as error:  # torch.load raises whatever the damage leads to
        raise StoreError(
            f"{path} is damaged or foreign ({type(error).__name__}); delete it and train again"
        ) from error
    if not is_whole or not isinstance(content, dict):
        raise StoreError(f"{path} is damaged or no checkpoint; delete it and train again")
    return content
