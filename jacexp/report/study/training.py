"""Training curves of each line of a study, from ``metrics.csv`` of those of its runs whose directories are there."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator

from jacexp.report import style
from jacexp.report.curves import common_band
from jacexp.report.epochs import read_epochs
from jacexp.report.figures.captioned import Captioned, caption
from jacexp.report.schema import Store
from jacexp.report.study.curves import legend, legend_columns
from jacexp.report.study.lines import Line, Study

PANELS: Mapping[str, tuple[str, str]] = {
    "train_cross_entropy": ("training", "cross-entropy"),
    "val_loss": ("validation", "cross-entropy"),
    "val_error": ("validation", "error (%)"),
}
"""The columns that are drawn, with the title and the label of their panels."""


def draw(study: Study, store: Store) -> tuple[list[Captioned], list[str]]:
    """Draw the curves of the lines.

    Args:
        study: whose lines.
        store: where the directories of its runs are.

    Returns:
        The figure, where a run has curves, and one sentence on each line without.
    """
    epochs, said = read_epochs(store, [run for line in study.lines for run in line.ids])
    tables = {line.label: [epochs[run] for run in line.ids if run in epochs] for line in study.lines}
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
                if mine := [table for table in tables[line.label] if column in table]:
                    points = common_band(pd.concat(mine), column)
                    style.draw_band(axes, line.look, points[np.isfinite(points["mean"])])
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


def _told(line: Line, tables: Mapping[str, Sequence[pd.DataFrame]]) -> str:
    n = len(tables[line.label])
    part = f"; the curves of {n} of them are there" if n < len(line.runs) else ""
    return line.sentence + part
