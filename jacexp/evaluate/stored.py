"""Evaluations of stored runs: which runs, which points are missing, and where the new ones go."""

import csv
import io
import json
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import pandas as pd
import torch

from jacexp.arguments import chosen
from jacexp.data.load import load
from jacexp.data.spec import ImageSet
from jacexp.errors import ConfigError, StoreError, did_you_mean
from jacexp.evaluate.checks import cross_checks
from jacexp.evaluate.registry import Outcome, evaluate, find
from jacexp.evaluate.samples import Progress
from jacexp.store.checkpoint import load_network
from jacexp.store.folders import REFERENCE
from jacexp.store.provenance import provenance
from jacexp.store.runs import RunDirectory, finished_runs, write_atomically
from jacexp.store.tables import CURVES, DISTANCES, RUNS, STRENGTHS, append_rows

IDENTITY = ("run", "dataset", "model", "method", "seed", *STRENGTHS)
"""The columns of ``curves.csv`` that are those of the run."""


@dataclass(frozen=True)
class StoredRun:
    """A run that ended as ``done``, its row of ``runs.csv``, and where its data came from."""

    directory: RunDirectory
    row: Mapping[str, Any]
    dataset: Mapping[str, Any]
    """The arguments of `jacexp.data.load` that say which set it was trained on."""

    def __str__(self) -> str:
        """Return the human-readable name."""
        row = self.row
        strength = "".join(f", {name} {row[name]}" for name in STRENGTHS if row[name] is not None)
        what = f"{row['dataset']}, {row['model']}, {row['method']}{strength}"
        return f"{what}, seed {row['seed']} ({self.directory.id})"


def matching(results: Path, filters: Mapping[str, Sequence[str]]) -> list[StoredRun]:
    """Find the runs that are done and match every filter.

    Args:
        results: the folder of results.
        filters: by column of ``runs.csv``, the values that are wanted; 0.01 and 1e-2 are the same.

    Returns:
        The runs, in the order of data set, network, method, strength and seed.

    Raises:
        ConfigError: for a filter that is no column.
        StoreError: if no run is done, or a value matches none.
    """
    for column in filters:
        if column not in RUNS:
            raise ConfigError(
                f"{column} is no column of runs.csv to choose runs by{did_you_mean(column, RUNS)}; "
                f"there are {', '.join(RUNS)}"
            )
    done = [
        StoredRun(directory, result["row"], result["dataset"])
        for directory, result in finished_runs(results)
        if result["status"] == "done"
    ]
    if not done:
        raise StoreError(
            f"no run in {results / 'runs'} is done; train one first: python train.py +method=spec"
        )
    wanted = chosen([run.row for run in done], filters, results / "runs")
    found = [run for run, is_wanted in zip(done, wanted, strict=True) if is_wanted]
    return sorted(
        found, key=lambda r: [str(r.row[c]) for c in ("dataset", "model", "method", *STRENGTHS, "seed")]
    )


def n_shipped(filters: Mapping[str, Sequence[str]]) -> int:
    """Count the runs of the reference that match every filter."""
    path = REFERENCE / "runs.csv"
    if not path.is_file():
        return 0
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    try:
        return sum(chosen(rows, filters, path)) if rows else 0
    except StoreError:
        return 0


def evaluate_run(
    results: Path,
    run: StoredRun,
    name: str,
    settings: Mapping[str, Any],
    *,
    root: Path | None = None,
    device: torch.device | str = "cpu",
    progress: Progress | None = None,
) -> int:
    """Evaluate one stored run on its test images and append what is not in ``curves.csv`` yet.

    Args:
        results: the folder of results.
        run: the run.
        name: the evaluation, one of `jacexp.evaluate.EVALUATIONS`.
        settings: its keywords.
        root: the folder of torchvision's data sets.
        device: where to evaluate.
        progress: told of the samples done and of all.

    Returns:
        The number of points that were measured; 0 if the store had them all.

    Raises:
        ConfigError: for an unknown evaluation or setting.
        StoreError: if the checkpoint is missing or damaged, the data are not those that the run was trained on, or
            the points cannot be written.
        EvaluationError: for a network whose logits are not finite.
    """
    complete = _unmeasured(results, run, name, settings)
    if complete is None:
        return 0
    images = images_of(run, root)
    net = load_network(run.directory, run.row["checkpoint"]).to(device)
    made = provenance(device)
    outcome = evaluate(
        name, net, images.x_test, images.y_test, dataset=run.row["dataset"], progress=progress, **complete
    )
    try:
        _store(results, run, name, outcome, made)
    except OSError as error:
        raise StoreError(f"{results} cannot be written ({error}); make room and start again") from error
    return len(outcome.points)


def _unmeasured(
    results: Path, run: StoredRun, name: str, settings: Mapping[str, Any]
) -> dict[str, Any] | None:
    """Complete the settings, and leave of the axis the points that are not stored; None if all of them are."""
    evaluation = find(name)
    complete = evaluation.settings(run.row["dataset"], settings)
    known = [
        row
        for row in stored_points(results / "curves.csv", run.directory.id)
        if row["eval"] == name and row["settings"] == evaluation.stored_settings(complete)
    ]
    if not evaluation.axis:
        return None if known else complete
    have = {float(row["value"]) for row in known}
    points = [point for point in complete[evaluation.axis] if float(point) not in have]
    return {**complete, evaluation.axis: points} if points else None


def images_of(run: StoredRun, root: Path | None) -> ImageSet:
    """Load the data set of a run, and make sure that it is the one it was trained on.

    Returns:
        The set.

    Raises:
        StoreError: if the files that are there now are not those that the run recorded.
    """
    images = _load(json.dumps(run.dataset), root)
    trained_on = json.loads(run.row["data"])["files"]
    if images.source["files"] != trained_on:
        raise StoreError(
            f"run {run.directory.id} was trained on {trained_on}, but here lies {images.source['files']}"
        )
    return images


@cache
def _load(which: str, root: Path | None) -> ImageSet:
    return load(**json.loads(which), root=root)


def stored_points(path: Path, run: str) -> Iterator[dict[str, str]]:
    """Iterate over the rows of ``curves.csv`` that belong to a run.

    Yields:
        One row by column, as texts.

    Raises:
        StoreError: if the table cannot be read or has other columns.
    """
    if not path.exists():
        return
    try:
        with path.open(encoding="utf-8", newline="") as file:
            # A line that a crash left without its end is no point; `append_rows` takes it away.
            reader = csv.DictReader(line for line in file if line.endswith("\n"))
            if reader.fieldnames is not None and list(reader.fieldnames) != list(CURVES):
                raise StoreError(f"{path}: its columns are not those of this version of jacexp; move it away")
            yield from (row for row in reader if row["run"] == run and row["started"])
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise StoreError(f"{path}: cannot be read ({error}); move it away, or copy it again") from error


def check_store(results: Path) -> None:
    """Check that points can be added to a folder of results, before any are measured.

    Raises:
        StoreError: if its table cannot be read or has other columns, or nothing can be written.
    """
    path = results / "curves.csv"
    deque(stored_points(path, ""), maxlen=0)
    try:
        for folder in (results, results / "samples"):
            if folder.exists():
                TemporaryFile(dir=folder).close()
        if path.exists():
            path.open("ab").close()
    except OSError as error:
        raise StoreError(
            f"{results} cannot be written ({error}); choose another folder with paths.results=DIR"
        ) from error


def curves_by_run(
    results: Path, runs: Sequence[StoredRun], name: str, settings: Mapping[str, Any]
) -> pd.DataFrame:
    """Gather what an evaluation has measured on some runs: one row a run, one column a point.

    Returns:
        Shares of right answers, or means of the statistic where nothing is counted, with the flags of self-checks.
    """
    evaluation = find(name)
    cells: dict[tuple[str, str, float], dict[str, str]] = {}
    for run in runs:
        wanted = evaluation.stored_settings(evaluation.settings(run.row["dataset"], settings))
        for p in stored_points(results / "curves.csv", run.directory.id):
            if p["eval"] == name and p["settings"] == wanted:
                point = (p["statistic"], p["variable"], float(p["value"] or 0))
                right = f"{float(p['n_correct']) / float(p['n']):.2%}" if p["n_correct"] else ""
                mean = f"{float(p['mean']):.4g}" if p["mean"] else "–"
                flags = f" ({p['check']})" if p["check"] else ""
                cells.setdefault(point, {})[str(run)] = (right or mean) + flags
    columns = {_heading(*point): column for point, column in sorted(cells.items())}
    return pd.DataFrame(columns, index=[str(run) for run in runs]).fillna("–")


def _heading(statistic: str, variable: str, value: float) -> str:
    return " ".join(filter(None, [statistic, f"{variable} {value:g}" if variable else ""])) or "accuracy"


def _store(results: Path, run: StoredRun, name: str, outcome: Outcome, made: Mapping[str, str]) -> None:
    """Append the points, and what other points of the run now look like beside them; the last row of a point counts."""
    if outcome.samples is not None:
        _store_distances(results / "samples" / f"boundary-{run.directory.id}.csv.gz", outcome.samples)
    identity = {column: run.row[column] for column in IDENTITY}
    new = outcome.points.assign(**identity, **made, eval=name)
    before = pd.DataFrame(
        stored_points(results / "curves.csv", run.directory.id), columns=list(CURVES), dtype=str
    )
    numbers = [c for c, kind in CURVES.items() if kind in ("number", "count")]
    before[numbers] = before[numbers].apply(pd.to_numeric)
    together = pd.concat([before, new], ignore_index=True)[list(CURVES)]
    checked = cross_checks(together)
    changed = checked["check"].fillna("") != together["check"].fillna("")
    append_rows(results / "curves.csv", _records(checked[changed | (checked.index >= len(before))]), CURVES)


def _records(points: pd.DataFrame) -> list[dict[str, Any]]:
    # A count beside empty cells is a float to pandas, and would be stored as 200.0.
    counts = {c: "Int64" for c, kind in CURVES.items() if kind == "count"}
    points = points.astype(counts)
    empty = points.astype(object).where(points.notna(), "")
    return [{str(k): v for k, v in row.items()} for row in empty.to_dict("records")]


def _store_distances(path: Path, samples: pd.DataFrame) -> None:
    """Write the distance of every image that is classified correctly; inf where no boundary was found."""
    right = samples[samples["correct"]].rename(columns={"sample": "index"})
    path.parent.mkdir(parents=True, exist_ok=True)
    table = io.BytesIO()
    right.assign(found=right["found"].astype(int))[list(DISTANCES)].to_csv(
        table, index=False, compression="gzip"
    )
    write_atomically(path, table.getbuffer())
