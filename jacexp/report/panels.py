"""Panels of curves, of the papers' figures and of those of any runs: laid out, drawn and explained alike."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from jacexp.report import style


@dataclass(frozen=True)
class Axis:
    """One evaluation, or one statistic of it, and how it is drawn."""

    evaluation: str
    title: str
    label: str
    """Of the horizontal axis; empty where there is one number a network."""
    variable: str = ""
    statistic: str = ""
    """The statistic that is drawn; empty for the share of right answers."""
    symlog: float | None = None
    """Below this the horizontal axis is linear, above logarithmic; None for linear all along."""
    unit: str = "accuracy (%)"
    is_log: bool = False
    """Whether the vertical axis is logarithmic."""


def shape_of(n: int) -> tuple[int, int]:
    """Return how many rows and columns n panels have: two columns, unless one panel is alone."""
    n_columns = min(2, n)
    return -(-n // n_columns), n_columns


def grid_of(fig: Figure, n: int) -> np.ndarray:
    """Make n panels, row by row; the last place may stay empty."""
    grid = fig.subplots(*shape_of(n), squeeze=False)
    for axes in grid.flat[n:]:
        axes.remove()
    return grid


def draw_bands(
    axes: Axes, axis: Axis, bands: Iterable[tuple[str, style.Look, pd.DataFrame]], largest: float
) -> None:
    """Draw the curves of one evaluation.

    Args:
        axes: where.
        axis: the evaluation.
        bands: of each line the method, the look and the points, as `style.draw_band` takes them.
        largest: of the horizontal axis.
    """
    axes.set_xlabel(axis.label)
    if axis.symlog:
        style.use_symlog(axes, axis.symlog, largest)
    if axis.is_log:
        axes.set_yscale("log")
    # The plain network goes below: where lines coincide, the method that is looked for shows.
    for _, look, points in sorted(bands, key=lambda band: band[0] != "none"):
        style.draw_band(axes, look, points)
    axes.margins(x=0.03)
    if not axis.is_log:
        style.few_ticks(axes)


def add_legend(
    fig: Figure,
    lines: Sequence[tuple[Line2D, str, str]],
    *,
    what: str = "networks",
    one: str = "one network a method",
    about: str = "",
    flagged: bool = False,
    columns: tuple[int, int] = (3, 2),
) -> None:
    """Put one legend above all panels, with how many networks the lines have: in its title, or behind each name.

    Args:
        fig: the figure.
        lines: of each its sample, its name and how many networks it has, as in ``3`` or ``3 (1 yours)``.
        what: is counted.
        one: the title where each line has one.
        about: what the title begins with.
        flagged: also explain the hollow marker of flagged points.
        columns: of the legend, where the numbers are in the title and where they are behind the names.
    """
    counts = {count for _, _, count in lines}
    same = len(counts) == 1
    n, space, yours = (counts.pop() if same else "n").partition(" ")
    handles, texts = [handle for handle, _, _ in lines], [name for _, name, _ in lines]
    if not same:
        texts = [f"{name} (n = {count.replace(' (', ', ').rstrip(')')})" for _, name, count in lines]
    if flagged:
        handles, texts = [*handles, style.flag_handle()], [*texts, "self-check flag"]
    title = about + (one if n == "1" else f"mean ± 1 s.d. over {n} {what}") + space + yours
    n_columns = min(columns[0] if same else columns[1], len(texts))
    fig.legend(handles, texts, title=title, loc="outside upper center", ncols=n_columns)
