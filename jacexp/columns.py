"""The columns of the stored tables and what their cells hold; ``results/README.md`` says what each one means."""

from collections.abc import Mapping
from typing import Literal

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
