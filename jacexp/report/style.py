"""How every figure looks: one colour, marker and line for each method in all of them, a paper's column wide."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import matplotlib.style
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

WIDTH = 3.25
"""Inches: one column of a two-column paper."""

RC: Mapping[str, object] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib, so that every machine draws the same letters
    "font.size": 7,
    "axes.titlesize": 6.2,
    "axes.labelsize": 7,
    "legend.fontsize": 6.5,
    "legend.title_fontsize": 6.5,
    "xtick.labelsize": 6,
    "ytick.labelsize": 6,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.titlelocation": "left",
    "grid.color": "0.9",
    "grid.linewidth": 0.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "xtick.minor.size": 1.5,
    "ytick.minor.size": 1.5,
    "lines.linewidth": 1.1,
    "lines.markersize": 3,
    "legend.frameon": False,
    "legend.handlelength": 2.4,
    "legend.columnspacing": 1.2,
    "figure.dpi": 300,
    "savefig.dpi": 300,
    "figure.constrained_layout.use": True,
    "pdf.fonttype": 42,
    "svg.hashsalt": "jacexp",
}


Line = Literal["-"] | tuple[int, tuple[float, ...]]
"""A line without gaps, or an offset and the lengths of dashes and gaps in points."""


@dataclass(frozen=True)
class Look:
    """How one method is drawn."""

    color: str
    marker: str
    line: Line


DASHED: Line = (0, (4, 1.5))
DOTTED: Line = (0, (1, 1.2))
DASHDOT: Line = (0, (4, 1.2, 1, 1.2))

LOOKS = {
    "none": Look("#000000", "o", "-"),
    "spec": Look("#0072B2", "s", "-"),
    "frob": Look("#D55E00", "^", DASHED),
    "spec_bound": Look("#009E73", "D", DASHDOT),
    "l2": Look("#CC79A7", "v", DOTTED),
    "pred_ibp": Look("#332288", "P", "-"),
    "loss_ibp": Look("#56B4E9", "X", DASHED),
    "at": Look("#E69F00", "<", "-"),
    "fast_at": Look("#8C6D00", ">", DOTTED),
    "tbp": Look("#AA3355", "d", DASHDOT),
    "fast_tbp": Look("#BBBBBB", "p", DOTTED),
    "analytical": Look("#555555", "*", DASHED),
}
"""Okabe and Ito's palette, and Tol's where it is used up; marker and line tell methods apart without colour."""

FLAGGED: dict[str, Any] = {"linestyle": "none", "markerfacecolor": "white", "markeredgewidth": 0.7}
"""A point that an evaluation's self-check flags: the method's marker, hollow."""


@contextmanager
def column_style() -> Iterator[None]:
    """Draw in this style whatever matplotlibrc says."""
    with matplotlib.style.context(["default", dict(RC)]):
        yield


def figure(height: float) -> Figure:
    """Make an empty figure, a column wide and ``height`` inches high."""
    return Figure(figsize=(WIDTH, height), layout="constrained")


def settle(fig: Figure) -> None:
    """Lay the panels out for good: constrained layout moves them a little at each drawing otherwise."""
    fig.draw_without_rendering()
    fig.set_layout_engine("none")


def draw_band(axes: Axes, look: Look, band: pd.DataFrame, *, hollow: bool = False) -> None:
    """Draw a mean over networks, with a band of one standard deviation.

    Args:
        axes: where.
        look: colour, marker and line.
        band: index: x; columns ``mean``, ``deviation``, ``flagged``.
        hollow: draw the same method a second way, dashed and with white markers.
    """
    x, mean, half = (np.asarray(v, dtype=float) for v in (band.index, band["mean"], band["deviation"]))
    every = max(1, len(x) // 7)
    axes.plot(
        x,
        mean,
        color=look.color,
        linestyle=DASHED if hollow else look.line,
        marker=look.marker,
        markevery=every,
        markerfacecolor="white" if hollow else look.color,
        markeredgewidth=0.7,
    )
    axes.fill_between(x, mean - half, mean + half, color=look.color, alpha=0.15, linewidth=0)
    flagged = np.asarray(band["flagged"], dtype=bool)
    axes.plot(x[flagged], mean[flagged], color=look.color, marker=look.marker, **FLAGGED)


def handle(look: Look, *, hollow: bool = False) -> Line2D:
    """Make the legend's sample of a line."""
    line = DASHED if hollow else look.line
    face = "white" if hollow else look.color
    return Line2D([], [], color=look.color, linestyle=line, marker=look.marker, markerfacecolor=face)


def flag_handle() -> Line2D:
    """Make the legend's sample of a point that a self-check flags."""
    return Line2D([], [], color="0.35", marker="o", **FLAGGED)


def span(counts: Sequence[int]) -> str:
    """Write how many networks there are, from the fewest to the most."""
    return str(min(counts)) if min(counts) == max(counts) else f"{min(counts)}–{max(counts)}"


def few_ticks(axes: Axes) -> None:
    """Label four or five round numbers on the y axis."""
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10]))


def log_ticks(axis: Axis, times: Sequence[float]) -> None:
    """Label some multiples of the powers of ten, as plain numbers."""
    # With fewer ticks allowed, a short axis over several powers of ten would skip powers until none is left.
    axis.set_major_locator(LogLocator(subs=times, numticks=20))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_locator(NullLocator())


def no_minor_ticks(axes: Axes) -> None:
    """Remove the minor ticks of the x axis, where the major ones are given one by one."""
    axes.xaxis.set_minor_locator(NullLocator())


def use_symlog(axes: Axes, linthresh: float, largest: float) -> None:
    """Draw counts on a symmetric logarithmic x axis, with a tick at 0 and at each power of ten from linthresh on.

    Args:
        axes: the panel.
        linthresh: below it the axis is linear.
        largest: the last tick is at most this.
    """
    axes.set_xscale("symlog", linthresh=linthresh, linscale=0.5)
    powers = [linthresh * 10.0**k for k in range(6)]
    ticks = [0.0, *(power for power in powers if power <= largest)]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    no_minor_ticks(axes)


def not_run(axes: Axes) -> None:
    """Write into an empty panel that its data are not there."""
    axes.text(0.5, 0.5, "not run", transform=axes.transAxes, ha="center", va="center", color="0.5")
    axes.tick_params(left=False, bottom=False, labelleft=False, labelbottom=False)
    axes.grid(visible=False)


def panel_letters(panels: Sequence[Axes]) -> None:
    """Letter the panels of a figure in their titles, from (a) on."""
    if len(panels) > 1:
        for letter, axes in zip("abcdefgh", panels, strict=False):
            axes.set_title(f"({letter}) {axes.get_title(loc='left')}")


def frame(x: float, y: float) -> Rectangle:
    """Make a frame around the cell of a heat map that is centred at a point."""
    return Rectangle((x - 0.5, y - 0.5), 1, 1, fill=False, edgecolor="#D55E00", linewidth=1.4, clip_on=False)
