"""How a page draws: lines with bands for settings, in the methods' colours of every other figure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from jacexp.report.groups import text
from jacexp.report.markup import Section
from jacexp.report.page.settings import Setting, first_of_each_method
from jacexp.report.study.lines import MORE
from jacexp.report.style import DASHDOT, DASHED, DOTTED, LOOKS, Line, Look

DASHES: Mapping[Line, str] = {"-": "solid", DASHED: "dash", DOTTED: "dot", DASHDOT: "dashdot"}

OTHER_DASHES = ("dash", "dot", "longdash", "dashdot", "solid", "longdashdot")
"""Of the settings of a method that are not its best, which share its colour."""

MARKERS = {
    "o": "circle",
    "s": "square",
    "^": "triangle-up",
    "v": "triangle-down",
    "<": "triangle-left",
    ">": "triangle-right",
    "D": "diamond",
    "d": "diamond-tall",
    "P": "cross",
    "X": "x",
    "p": "pentagon",
    "h": "hexagon",
    "H": "hexagon2",
    "8": "octagon",
    "*": "star",
}
"""Plotly's names of matplotlib's markers."""


SYMBOLS = {"sigma": "σ", "epsilon": "ε", "n_iter": "power iterations", "n_directions": "directions"}
"""What an axis is called, where it is not the stored word."""


LOGARITHMIC = {"type": "log", "dtick": 1, "exponentformat": "power"}
"""An axis that labels the powers of ten."""


@dataclass(frozen=True)
class Figure:
    """One figure of a page."""

    title: str
    remarks: tuple[str, ...]
    """What is shown, one sentence each."""
    drawing: go.Figure
    values: Section
    """The same numbers as a table."""


def lines(bands: Mapping[Setting, pd.DataFrame], form: str) -> go.Figure:
    """Draw each setting's mean with a band of one standard deviation; one setting a method is shown at first."""
    drawing = new_figure(hovermode="x unified")
    looks, shown = looks_of([s.method for s in bands]), first_of_each_method(bands)
    for number, (s, b) in enumerate(bands.items()):
        look, visible = looks[s.method], True if s in shown else "legendonly"
        dash = DASHES[look.line] if s in shown else OTHER_DASHES[number % len(OTHER_DASHES)]
        x, mean = list(b.index), list(b["mean"])
        half = b["deviation"].fillna(0.0)
        shared = {"legendgroup": str(number), "visible": visible, "hoverinfo": "skip"}
        if (half > 0).any():
            edge = [*(b["mean"] + half), *(b["mean"] - half)[::-1]]
            drawing.add_scatter(
                x=[*x, *x[::-1]], y=edge, fill="toself", mode="none", fillcolor=look.color, opacity=0.15,
                showlegend=False, **shared,
            )  # fmt: skip
        shared["hoverinfo"] = "all"
        symbol = MARKERS[look.marker]
        drawing.add_scatter(
            x=x, y=mean, name=s.name, mode="lines+markers", text=_spreads(b, form), hovertemplate="%{text}",
            line={"color": look.color, "dash": dash, "width": 2},
            marker={"symbol": [f"{symbol}-open" if f else symbol for f in b["flagged"]], "size": 7}, **shared,
        )  # fmt: skip
    return drawing


def _spreads(b: pd.DataFrame, form: str) -> list[str]:
    return [
        f"{m:{form}}" + (f" ± {d:{form}}" if n > 1 else "") + f" (n = {n})"
        for n, m, d in zip(b["n"], b["mean"], b["deviation"], strict=True)
    ]


def band_table(bands: Mapping[Setting, pd.DataFrame], x: str, y: str) -> Section:
    """Make the table of the values that `lines` draws."""
    rows = [
        (s.name, f"{value:g}", text(mean), text(deviation), str(n), "flagged" if flagged else "")
        for s, b in bands.items()
        for value, n, mean, deviation, flagged in b.itertuples()
    ]
    return Section("", ("setting", x, y, "s.d.", "n", "self-check"), tuple(rows))


def looks_of(methods: Sequence[str]) -> dict[str, Look]:
    """Return how each method is drawn; one of one's own as in the figures of a study."""
    own = [m for m in dict.fromkeys(methods) if m not in LOOKS]
    return {**LOOKS, **{m: MORE[i % len(MORE)] for i, m in enumerate(own)}}


def new_figure(**layout: Any) -> go.Figure:
    """Make an empty figure that takes its colours from the page."""
    transparent = "rgba(0,0,0,0)"
    made = go.Figure(
        layout={"template": "none", "paper_bgcolor": transparent, "plot_bgcolor": transparent, **layout}
    )
    made.update_layout(
        margin={"l": 60, "r": 12, "t": 12, "b": 48},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        height=420,
    )
    return made.update_xaxes(zeroline=False, automargin=True).update_yaxes(zeroline=False, automargin=True)


def axes_of(point: pd.Series) -> tuple[str, str]:
    """Name the axes of a stored curve by one of its points."""
    x = SYMBOLS.get(point["variable"], str(point["variable"]))
    if point["statistic"]:
        return x, str(point["statistic"]).replace("_", " ")
    return x, "images that keep their class, %" if point["eval"] == "boundary" else "test accuracy, %"
