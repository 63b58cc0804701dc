"""The grid of a method: a line over one key that was swept, a heat map over two."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jacexp.errors import ConfigError
from jacexp.report import style
from jacexp.report.figures.captioned import Captioned, caption
from jacexp.report.groups import groups_of, text
from jacexp.report.paper import COLUMNS, method_name
from jacexp.report.study.lines import MORE, Study, is_searched
from jacexp.report.style import Look
from jacexp.store.tables import STRENGTHS

METRICS: Mapping[str, str] = {
    "val_loss": "validation loss",
    "val_error": "validation error (%)",
    "test_error": "test error (%)",
}
"""What may be drawn: the columns of the runs and how they are labelled."""

FRAMED = ("val_loss", "val_error")
"""The metrics whose best setting is marked: nothing is chosen by test images."""

N_TICKS = 8
"""As many values as are written at an axis, each at its place."""

LOG = 5
"""From this ratio of the largest to the smallest value on an axis is logarithmic."""


def column_of(key: str) -> str:
    """Return the column of a key of the command line, as ``lam`` of ``method.lam``."""
    strength = key.removeprefix("method.")
    return strength if strength in STRENGTHS else COLUMNS.get(key, key)


def draw(study: Study, metric: str, keys: Sequence[str] = ()) -> tuple[list[Captioned], list[str]]:
    """Draw the grid of each method of a study.

    Args:
        study: whose runs.
        metric: one of `METRICS`.
        keys: the columns of the axes, one or two; by default what was swept.

    Returns:
        A figure for each method with something swept, and one sentence on each that is not drawn.

    Raises:
        ConfigError: for a key that is none of a setting's, or runs that differ in a column beside the keys.
    """
    if wrong := [key for key in keys if not is_searched(key)]:
        raise ConfigError(f"grid={wrong[0]} is no key that settings of a method differ in, as lam and lr are")
    made, said = [], []
    for method, runs in study.runs.groupby("method", sort=False):
        name = method_name(str(method))
        swept = [c for c in runs.columns if is_searched(c) and runs[c].nunique(dropna=False) > 1]
        axes = [c for c in (keys or swept) if c in swept]
        beside = [c for c in swept if c not in axes]
        if keys and axes and beside:
            values = ",".join(text(v) for v in runs[beside[0]].drop_duplicates())
            raise ConfigError(
                f"grid={','.join(keys)}: the runs of {method} differ in {', '.join(beside)} too; choose one value "
                f"of {beside[0]}={values}"
            )
        if len(axes) > 2:
            said.append(
                f"{study.title}: the grid of {name} is not drawn, for it has {len(axes)} keys, {', '.join(axes)}: "
                "choose one value for all but two"
            )
        elif axes and (cells := _cells(runs, metric, axes))["mean"].notna().any():
            made.append(_draw(study, str(method), runs, cells, metric, axes))
        elif axes or keys:
            lost = (
                "has no setting with a " + METRICS[metric].removesuffix(" (%)") + " whose runs are all done"
            )
            why = lost if axes else f"has one value of {', '.join(keys)}"
            said.append(f"{study.title}: the grid of {name} is not drawn, for it {why}")
    return made, said


def _draw(
    study: Study, method: str, runs: pd.DataFrame, cells: pd.DataFrame, metric: str, axes: Sequence[str]
) -> Captioned:
    with style.column_style():
        draw_axes = _line if len(axes) == 1 else _scatter if _is_sparse(cells, axes) else _heat_map
        fig = draw_axes(cells, metric, axes, _look(study, method))
        fig.axes[0].set_title(f"{method_name(method)} on {study.dataset}")
    counts = sorted({int(n) for n in cells["n"] if n})
    seeds = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}" if counts else "no"
    lost = int(cells["lost"].sum())
    fixed = {
        c: runs[c].iloc[0]
        for c in ("lr", "batch_size", *STRENGTHS)
        if c not in axes and runs[c].nunique() == 1
    }
    sentences = [
        f"Mean over {seeds} seeds a setting"
        + (", band: one standard deviation (n − 1)" if len(axes) == 1 else ""),
        ", ".join(f"{c} = {text(v)}" for c, v in fixed.items()),
        f"{lost} runs diverged or failed, and their settings have no mean" if lost else "",
        "Framed: the lowest of the settings with most seeds" if metric in FRAMED else "",
    ]
    title = f"{study.title}: {METRICS[metric].removesuffix(' (%)')} of {method_name(method)}"
    return Captioned(
        f"{study.slug}-grid-{method}",
        fig,
        caption(f"{title} against {' and '.join(axes)}", sentences, study.how),
    )


def _look(study: Study, method: str) -> Look:
    """Return the look that a method has in the study's other figures, where it is one line of them."""
    own = [line.look for line in study.lines if line.runs["method"].iloc[0] == method]
    return own[0] if len(own) == 1 else style.LOOKS.get(method, MORE[0])


def _cells(runs: pd.DataFrame, metric: str, axes: Sequence[str]) -> pd.DataFrame:
    """Summarise each setting: its values, n, lost, mean (NaN where a run is lost), deviation, best."""
    rows: list[dict[str, Any]] = []
    for group in groups_of(runs, axes):
        y, lost = group.done[metric].astype(float), group.n_lost
        mean = float(y.mean()) if len(y) and not lost else math.nan
        spread = float(y.std(ddof=1)) if len(y) > 1 and not lost else 0.0
        rows.append({**group.key, "n": len(y), "lost": lost, "mean": mean, "deviation": spread})
    cells = pd.DataFrame(rows)
    compared = cells["mean"].where(cells["n"] == cells.loc[cells["mean"].notna(), "n"].max())
    best = compared.idxmin() if metric in FRAMED and compared.notna().any() else None
    return cells.assign(best=cells.index == best)


def _values(cells: pd.DataFrame, column: str) -> list[Any]:
    """List the values of a column in their order, an empty one first."""
    values = list(cells[column].drop_duplicates())
    empty = [v for v in values if v is None or pd.isna(v)]
    return [*empty[:1], *sorted(v for v in values if not (v is None or pd.isna(v)))]


def _id(value: Any) -> Any:
    """Return a value that equals itself, also where the cell is empty."""
    return None if value is None or pd.isna(value) else value


def _line(cells: pd.DataFrame, metric: str, axes: Sequence[str], look: Look) -> Figure:
    (key,) = axes
    fig = style.figure(1.9)
    panel = fig.subplots()
    values = _values(cells, key)
    numbers = _are_positive(values)
    is_log = numbers and max(values) >= LOG * min(values)
    x = [float(v) for v in values] if numbers else list(range(len(values)))
    by_value = {_id(row[key]): row for row in cells.to_dict("records")}
    rows = [by_value[_id(v)] for v in values]
    band = pd.DataFrame(rows, index=x).assign(flagged=False)
    style.draw_band(panel, look, band[band["mean"].notna()])
    if is_log:
        panel.set_xscale("log")
        if len(values) <= N_TICKS:
            style.no_minor_ticks(panel)
    if not numbers or len(values) <= N_TICKS:
        panel.set_xticks(x, [text(v) for v in values])
    for at, row in zip(x, rows, strict=True):
        if row["lost"]:
            panel.annotate(
                "lost", (at, 0.02), xycoords=("data", "axes fraction"), ha="center", color="0.45", size=6
            )
    for at, row in zip(x, rows, strict=True):
        if row["best"]:
            panel.plot(at, row["mean"], marker="s", markersize=7, markerfacecolor="none", color="0.2")
    panel.set(xlabel=key, ylabel=METRICS[metric])
    panel.update_datalim(
        [(at, np.nanmean(band["mean"])) for at in x]
    )  # a setting without a mean has its place too
    panel.margins(x=0.06)
    style.few_ticks(panel)
    return fig


def _are_positive(values: Sequence[Any]) -> bool:
    return all(isinstance(v, int | float | np.number) and not isinstance(v, bool) and v > 0 for v in values)


def _is_sparse(cells: pd.DataFrame, axes: Sequence[str]) -> bool:
    """Return whether settings are no grid, as those that a sweeper drew, but numbers here and there."""
    values = [_values(cells, column) for column in axes]
    return all(map(_are_positive, values)) and 2 * len(cells) < len(values[0]) * len(values[1])


def _scatter(cells: pd.DataFrame, metric: str, axes: Sequence[str], look: Look) -> Figure:
    across, down = axes
    fig = style.figure(2.2)
    panel = fig.subplots()
    lost, done = cells[cells["mean"].isna()], cells[cells["mean"].notna()]
    panel.scatter(lost[across], lost[down], marker="x", s=12, color="0.6", linewidths=0.7, zorder=3)
    points = panel.scatter(
        done[across], done[down], c=done["mean"], cmap="viridis", marker=look.marker, s=18, zorder=3
    )
    best = done[done["best"]]
    panel.scatter(best[across], best[down], s=60, marker="s", facecolors="none", edgecolors="#D55E00")
    for column, scale in ((across, panel.set_xscale), (down, panel.set_yscale)):
        if cells[column].max() >= LOG * cells[column].min():
            scale("log")
    panel.set(xlabel=across, ylabel=down)
    fig.colorbar(points, ax=panel, label=METRICS[metric])
    return fig


def _heat_map(cells: pd.DataFrame, metric: str, axes: Sequence[str], _: Look) -> Figure:
    across, down = sorted(axes, key=lambda c: -len(_values(cells, c)))
    columns, rows = _values(cells, across), _values(cells, down)
    at = {(_id(c[down]), _id(c[across])): c for c in cells.to_dict("records")}
    found = [[at.get((_id(r), _id(c))) for c in columns] for r in rows]
    mean = np.array([[cell["mean"] if cell else np.nan for cell in row] for row in found])
    fig = style.figure(0.75 + 0.26 * len(rows))
    panel = fig.subplots()
    image = panel.imshow(np.ma.masked_invalid(mean), cmap="viridis", aspect="auto")
    _write_cells(panel, found, mean, image.norm)
    for i, j in np.argwhere([[bool(cell and cell["best"]) for cell in row] for row in found]):
        panel.add_patch(style.frame(float(j), float(i)))
    panel.set_xticks(range(len(columns)), [text(v) for v in columns])
    panel.set_yticks(range(len(rows)), [text(v) for v in rows])
    panel.set(xlabel=across, ylabel=down)
    panel.grid(visible=False)
    fig.colorbar(image, ax=panel, label=METRICS[metric])
    return fig


def _write_cells(
    panel: Axes, found: Sequence[Sequence[Mapping[Any, Any] | None]], mean: np.ndarray, norm: Any
) -> None:
    for i, row in enumerate(found):
        for j, cell in enumerate(row):
            if cell is None:
                text, color = "–", "0.5"
            elif cell["lost"]:
                text, color = "lost", "0.45"
            else:
                text, color = f"{mean[i, j]:.3g}", "white" if norm(mean[i, j]) < 0.6 else "black"
            panel.text(j, i, text, ha="center", va="center", color=color, size=6)
