"""A sweep's grid as a heat map, and the training of its networks."""

from collections.abc import Mapping
from typing import Any, cast

import pandas as pd

from jacexp.report.curves import band
from jacexp.report.groups import groups_of, label, text, varied
from jacexp.report.markup import Section
from jacexp.report.page.drawing import Figure, band_table, lines, new_figure
from jacexp.report.page.settings import Sweep
from jacexp.report.summary import summary
from jacexp.store.tables import STRENGTHS

TRAINED = {
    "val_loss": "validation loss, nats",
    "train_loss": "training loss, nats",
    "train_penalty": "penalty",
    "val_accuracy": "validation accuracy, %",
}
"""The columns of ``metrics.csv`` that are drawn, and what their axes are called."""


BEST = {"showarrow": False, "font": {"color": "white"}}
"""How the best cell is marked: by numbers of column and row, for Plotly takes the word ``0.01`` for a number."""


def grid_of(sweep: Sweep) -> list[Figure]:
    """Draw the mean validation loss at each point of a sweep: strengths from left to right, all else from top down."""
    runs = pd.concat([s.group.runs for s in sweep.settings])
    columns = varied(groups_of(runs, ["method"]))
    rows = ["method", *(c for c in columns if c not in STRENGTHS)]
    by = [*rows, "strength"]
    if runs["strength"].nunique() < 2:
        return []
    groups = groups_of(runs, by)
    table, _ = summary(runs, by)
    x = [f"{v:g}" for v in sorted(runs["strength"].dropna().unique())]
    x = ["–", *x] if runs["strength"].isna().any() else x
    cells: dict[str, dict[str, dict[str, Any]]] = {}
    for group, cell in zip(groups, cast("list[dict[str, Any]]", table.to_dict("records")), strict=True):
        told = {c: v for c, v in group.key.items() if c in rows[1:] and v is not None}
        name = " ".join([str(group.key["method"]), *([f"({label(told)})"] if told else [])])
        cells.setdefault(name, {})[text(group.key["strength"])] = cell
    return [_heat_map(x, cells)]


def _heat_map(x: list[str], cells: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> Figure:
    names = list(cells)
    losses = [[_at(cells[name], strength, "val_loss") for strength in x] for name in names]
    says = [[_said(cells[name].get(strength)) for strength in x] for name in names]
    drawing = new_figure(height=max(220, 120 + 28 * len(names)))
    drawing.add_heatmap(
        x=x, y=names, z=losses, text=says, colorscale="Cividis", hovertemplate="%{y}, strength %{x}<br>%{text}",
        colorbar={"title": {"text": "loss", "side": "right"}, "thickness": 12}, xgap=2, ygap=2, name="",
    )  # fmt: skip
    drawing.update_xaxes(type="category", title="strength: lam, beta or epsilon")
    drawing.update_yaxes(type="category", autorange="reversed")
    rows = []
    for number, name in enumerate(names):
        for strength, cell in cells[name].items():
            numbers = (text(cell["val_loss"]), text(cell["mean"]), text(cell["deviation"]), str(cell["n"]))
            rows.append((name, strength, *numbers, "best" if cell["best"] else ""))
            if cell["best"]:
                drawing.add_annotation(x=x.index(strength), y=number, text="best", **BEST)
    headings = ("setting", "strength", "validation loss", "test accuracy, %", "s.d.", "n", "best")
    remarks = ("Mean over seeds; best: the lowest mean validation loss, lost runs excluded.",)
    return Figure("grid: validation loss", remarks, drawing, Section("", headings, tuple(rows)))


def _at(row: Mapping[str, Mapping[str, Any]], strength: str, column: str) -> float | None:
    value = row.get(strength, {}).get(column)
    return None if value is None or pd.isna(value) else float(value)


def _said(cell: Mapping[str, Any] | None) -> str:
    if cell is None:
        return "not run"
    lost = f", {cell['lost']} lost" if cell["lost"] else ""
    return f"validation loss {text(cell['val_loss'])}, test accuracy {text(cell['mean'])} %, n = {cell['n']}{lost}"


def training_of(sweep: Sweep, epochs: Mapping[str, pd.DataFrame]) -> list[Figure]:
    """Draw what the epochs of a sweep's networks measured, as far as their ``metrics.csv`` are there."""
    figures = []
    tables = {s: [epochs[run] for run in s.runs if run in epochs] for s in sweep.settings}
    for column, title in TRAINED.items():
        measured = {s: [t for t in mine if column in t] for s, mine in tables.items()}
        bands = {s: band(pd.concat(mine), column) for s, mine in measured.items() if mine}
        bands = {s: b for s, b in bands.items() if len(b)}
        if not bands:
            continue
        drawing = lines(bands, ".4g").update_xaxes(title="epoch").update_yaxes(title=title)
        remarks = ("Mean over seeds, band: one standard deviation (n − 1).",)
        figures.append(Figure(f"training: {title}", remarks, drawing, band_table(bands, "epoch", title)))
    return figures
