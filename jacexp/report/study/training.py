"""Training curves of each line of a study, from ``metrics.csv`` of those of its runs whose directories are there."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path

import pandas as pd
from matplotlib.ticker import MaxNLocator

from jacexp.report import style
from jacexp.report.figures.captioned import Captioned, caption
from jacexp.report.study.curves import legend, legend_columns
from jacexp.report.study.lines import Line, Study

PANELS: Mapping[str, tuple[str, str]] = {
    "train_cross_entropy": ("training", "cross-entropy"),
    "val_loss": ("validation", "cross-entropy"),
    "val_error": ("validation", "error (%)"),
}
"""The columns that are drawn, with the title and the label of their panels."""


def draw(study: Study, folder_of: Callable[[str], Path]) -> tuple[list[Captioned], list[str]]:
    """Draw the curves of the lines.

    Args:
        study: whose lines.
        folder_of: returns the folder of results that a run is from.

    Returns:
        The figure, where a run has curves, and one sentence on each line without.
    """
    said: list[str] = []
    tables: dict[str, dict[str, pd.DataFrame]] = {}
    for line in study.lines:
        mine = tables[line.label] = {}
        for run in line.ids:
            table = _read(folder_of(run) / "runs" / run / "metrics.csv")
            if isinstance(table, str):
                said.append(table)
            elif len(table):
                mine[run] = table
    none = [line.label for line in study.lines if not tables[line.label]]
    if none:
        said.append(
            f"{study.title}: training curves are not drawn of {'; '.join(none)}, whose runs have no directories here"
        )
    drawn = [line for line in study.lines if tables[line.label]]
    if not drawn:
        return [], said
    with style.column_style():
        n_legend = -(-len(drawn) // legend_columns(drawn))
        fig = style.figure(1.6 + 0.13 * n_legend)
        grid = fig.subplots(1, len(PANELS))
        for axes, (column, (title, label)) in zip(grid, PANELS.items(), strict=True):
            axes.set(title=title, xlabel="epoch", ylabel=label)
            for line in drawn:
                style.draw_band(axes, line.look, _band(tables[line.label], column))
            style.few_ticks(axes)
            axes.xaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
        style.panel_letters(list(grid))
        legend(fig, study.dataset, drawn)
    sentences = [
        "Mean over networks, band: one standard deviation (n − 1)",
        *(_told(line, tables) for line in drawn),
    ]
    text = caption(f"{study.title}: training curves", sentences, study.how)
    return [Captioned(f"{study.slug}-training", fig, text)], said


def _told(line: Line, tables: Mapping[str, Mapping[str, pd.DataFrame]]) -> str:
    n = len(tables[line.label])
    part = f"; the curves of {n} of them are there" if n < len(line.runs) else ""
    return line.sentence + part


def _read(path: Path) -> pd.DataFrame | str:
    """Read the epochs of a run, none where there is no file; what is wrong with it where it is damaged."""
    if not path.is_file():
        return pd.DataFrame()
    try:
        table = pd.read_csv(path)
        error = 100 * (1 - table["val_n_correct"] / table["val_n"])
        columns = table[["epoch", "train_cross_entropy", "val_loss"]].astype(float)
        return columns.assign(val_error=error.astype(float)).set_index("epoch")
    except (OSError, ValueError, KeyError, TypeError) as error_:
        return f"{path} is damaged ({' '.join(str(error_).split())}), so its curve is left out"


def _band(tables: Mapping[str, pd.DataFrame], column: str) -> pd.DataFrame:
    """Return mean and deviation over runs at the epochs that all of them have, counted from 1."""
    joined = pd.concat([table[column] for table in tables.values()], axis="columns", join="inner")
    spread = joined.std(axis="columns", ddof=1).fillna(0.0) if len(tables) > 1 else 0.0
    band = pd.DataFrame({"mean": joined.mean(axis="columns"), "deviation": spread, "flagged": False})
    band.index = band.index + 1
    return band[band["mean"].map(math.isfinite)]
