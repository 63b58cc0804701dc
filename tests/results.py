"""What runs that are over leave: made up, and read."""

import csv

from jacexp.store.tables import MEASURED, RUNS

VALUES = {"key": "some", "text": None, "count": 1, "number": 0.5}


def result(run, status="done", error=None, **row):
    """Return the content of a ``result.json``, with these columns of ``runs.csv``."""
    columns = [c for c in RUNS if status == "done" or c not in MEASURED]
    made = {**{c: VALUES[RUNS[c]] for c in columns}, "run": run, "status": status, "model": "lenet", **row}
    content = {"status": status, "row": made, "dataset": {"name": "digits", "path": None}}
    return content if error is None else {**content, "error": error}


def rows(results):
    """Read the rows of ``runs.csv``, as texts by column."""
    with (results / "runs.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
