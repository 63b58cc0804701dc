"""Small stores with known numbers, row by row, for the tests of the report."""

import csv
import gzip
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jacexp.report.paper import Experiment, switches
from jacexp.store.tables import CURVES, RUNS, TIMING

PROTOCOL = {"P1": "ibp", "P2": "spectral"}
PROVENANCE = {
    "device": "cpu (x86_64, 2 threads)",
    "versions": json.dumps({"torch": "2.14.1"}),
    "git": "0123abc",
    "command": "python train.py",
    "started": "2025-01-01T00:00:00+00:00",
}

Row = dict[str, Any]


class Tables:
    """The rows of a store; `write` makes the CSV files of them."""

    def __init__(self) -> None:
        self.runs: list[Row] = []
        self.curves: list[Row] = []
        self.timing: list[Row] = []
        self.distances: dict[str, list[Row]] = {}

    def run(
        self, e: Experiment, method: str, seed: int, *, val: float = 0.9, test: float = 0.9, **others: Any
    ) -> Row:
        """Add one run with shares ``val`` and ``test`` of 10,000 images right, and a validation loss of 1 − val."""
        row = {
            "run": f"{len(self.runs):012x}",
            "dataset": e.dataset,
            "model": e.model,
            "method": method,
            "protocol": PROTOCOL[e.paper],
            "select": "holdout",
            "seed": seed,
            "options": json.dumps(switches(method), sort_keys=True),
            "lr": 0.01,
            "momentum": 0.8,
            "batch_size": 32,
            "n_epochs": e.n_epochs,
            "subset": "" if e.subset is None else e.subset,
            "augment": "crop_flip" if e.augmented else "none",
            "precision": "32",
            "checkpoint": "last",
            "status": "done",
            "epoch": e.n_epochs,
            "n_train": 54_000,
            "n_val": 10_000,
            "n_val_correct": round(10_000 * val),
            "val_loss": 1 - val,
            "n_test": 10_000,
            "n_test_correct": round(10_000 * test),
            "test_loss": 1 - test,
            "train_s": 60.0,
            "data": "{}",
            **PROVENANCE,
            **others,
        }
        self.runs.append(row)
        return row

    def lost(self, e: Experiment, method: str, seed: int, status: str = "diverged", **others: Any) -> Row:
        """Add a run that diverged or failed: it has no counts."""
        row = self.run(e, method, seed, **others)
        counts = ("n_val", "n_val_correct", "val_loss", "n_test", "n_test_correct", "test_loss")
        row.update({**dict.fromkeys(counts, ""), "status": status})
        return row

    def curve(
        self, run: Row, evaluation: str, right: Mapping[float, float], variable: str = "x", **others: Any
    ) -> None:
        """Add the points of a curve: the share of 10,000 images that is right at each value."""
        for value, share in right.items():
            counts = {"n": 10_000, "n_correct": round(10_000 * share)}
            self.point(run, evaluation, value=value, variable=variable, **{**counts, **others})

    def point(self, run: Row, evaluation: str, **others: Any) -> None:
        """Add one row of ``curves.csv``."""
        same = {name: run[name] for name in ("run", "dataset", "model", "method", "seed")}
        strengths = {name: run.get(name, "") for name in ("lam", "beta", "epsilon")}
        fixed = {"eval": evaluation, "threat": "pixels", "settings": "{}"}
        self.curves.append({**same, **strengths, **fixed, **PROVENANCE, **others})

    def time(self, model: str, method: str, ratio: float, *, batch_size: int = 32, **others: Any) -> None:
        """Add one row of ``timing.csv``, with a plain step of 1 ms."""
        engine = "pytorch" if method in ("none", "analytical") else "passes"
        row = {"name": "step", "model": model, "method": method, "engine": engine, "batch_size": batch_size}
        row |= {"n_networks": 1, "seconds": 1e-3 * ratio, "ratio": ratio, "floor": 1.0, "memory_mb": 1.0}
        self.timing.append({**row, "threads": 2, "n_repeats": 30, **PROVENANCE, **others})

    def distance(self, run: Row, distances: Mapping[int, float]) -> None:
        """Add the boundary distances of a network, by test image."""
        self.distances[run["run"]] = [{"index": i, "distance": d, "found": 1} for i, d in distances.items()]

    def write(self, folder: Path) -> Path:
        """Write the tables into a folder of results and return it."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, schema in (("runs", RUNS), ("curves", CURVES), ("timing", TIMING)):
            write_csv(folder / f"{name}.csv", list(schema), getattr(self, name))
        for run, rows in self.distances.items():
            (folder / "samples").mkdir(exist_ok=True)
            text = "index,distance,found\n" + "".join(
                f"{r['index']},{r['distance']},{r['found']}\n" for r in rows
            )
            (folder / "samples" / f"boundary-{run}.csv.gz").write_bytes(gzip.compress(text.encode(), mtime=0))
        return folder


def write_csv(path: Path, columns: Sequence[str], rows: Sequence[Row]) -> None:
    """Write rows as the store does."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
