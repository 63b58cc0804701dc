"""Every run by itself: how it was trained, the commands that made it, what its epochs and evaluations measured."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import pandas as pd

from jacexp.report.groups import text
from jacexp.report.markup import Section
from jacexp.report.page.drawing import axes_of
from jacexp.report.schema import Store

COLUMNS = ("dataset", "model", "method", "strength", "lr", "batch_size", "n_epochs", "seed", "status")
MEASURED = ("val_loss", "val_accuracy", "test_accuracy")
SHOWN_ELSEWHERE = {"run", "command", "options", "n_val", "n_val_correct", "n_test", "n_test_correct"}
LOSSES = ("train_loss", "val_loss")


@dataclass(frozen=True)
class Run:
    """One run, and what its part of the page shows."""

    id: str
    title: str
    config: tuple[tuple[str, str], ...]
    """Names and values of all that is stored of it."""
    file: str
    """Its ``config.yaml``; empty where its directory is not here."""
    commands: tuple[str, ...]
    """What trained it, then what evaluated it."""
    drawings: tuple[Mapping[str, Any], ...]
    """Of its epochs and its curves, as Plotly takes them, each with its ``name``."""


def table_of(runs: pd.DataFrame) -> Section:
    """List runs, the name of each first."""
    columns = [*COLUMNS, *(["source"] if runs["source"].nunique() > 1 else []), *MEASURED]
    headings = ("run", *(c.replace("_", " ") for c in columns))
    rows = runs[["run", *columns]].itertuples(index=False)
    return Section("", headings, tuple((str(run), *map(text, cells)) for run, *cells in rows))


def runs_of(
    store: Store,
    runs: pd.DataFrame,
    curves: pd.DataFrame,
    epochs: Mapping[str, pd.DataFrame],
    names: Mapping[str, str],
) -> list[Run]:
    """Gather what is stored of each run.

    Args:
        store: where their directories are.
        runs: as `jacexp.results.load` returns them.
        curves: of these runs, likewise.
        epochs: of each run that has them.
        names: each run's method and setting.

    Returns:
        One for each row of the runs.
    """
    measured = dict(iter(curves.groupby("run")))
    rows = cast("list[dict[str, Any]]", runs.to_dict("records"))
    return [
        _run(store, row, names[row["run"]], measured.get(row["run"], curves.head(0)), epochs.get(row["run"]))
        for row in rows
    ]


def _run(
    store: Store, row: Mapping[str, Any], setting: str, curves: pd.DataFrame, epochs: pd.DataFrame | None
) -> Run:
    name = row["run"]
    path = store.folder_of(name) / "runs" / name / "config.yaml"
    told = [(c, text(v)) for c, v in row.items() if c not in SHOWN_ELSEWHERE and not (pd.isna(v) or v == "")]
    title = f"{row['dataset']}, {row['model']}, {setting}, seed {text(row['seed'])}"
    commands = dict.fromkeys([row["command"], *sorted(set(curves["command"]))])
    return Run(
        id=name,
        title=title,
        config=tuple(told),
        file=path.read_text(encoding="utf-8", errors="replace") if path.is_file() else "",
        commands=tuple(c for c in commands if c),
        drawings=tuple(_drawings(curves, epochs)),
    )


def _drawings(curves: pd.DataFrame, epochs: pd.DataFrame | None) -> Sequence[Mapping[str, Any]]:
    made = []
    if epochs is not None:
        losses = [_line(epochs["value"], epochs[c], c.replace("_", " ")) for c in LOSSES if c in epochs]
        made.append(_drawing("training", "epoch", "loss, nats", losses))
    counted = curves[(curves["statistic"] == "") & (curves["variable"] != "")]
    for keys, points in counted.groupby(["eval", "variable", "threat", "settings"], sort=True):
        lines = [_line(points["value"], points["accuracy"], str(keys[0]))]
        made.append(_drawing(str(keys[0]), *axes_of(points.iloc[0]), lines))
    return made


def _line(x: pd.Series, y: pd.Series, name: str) -> Mapping[str, Any]:
    numbers = [None if pd.isna(v) else float(f"{v:.6g}") for v in y]
    return {"x": [float(v) for v in x], "y": numbers, "name": name, "mode": "lines+markers"}


def _drawing(name: str, x: str, y: str, data: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    layout = {"xaxis": {"title": {"text": x}}, "yaxis": {"title": {"text": y}}, "height": 260}
    return {"name": name, "data": data, "layout": {**layout, "showlegend": len(data) > 1}}
