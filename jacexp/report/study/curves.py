"""What is left of each line of a study under noise, attack and growing distance, and how exact its norms are."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jacexp.report import style
from jacexp.report.curves import common_band, one_threat
from jacexp.report.figures.captioned import Captioned, caption
from jacexp.report.panels import Axis, add_legend, draw_bands, grid_of, shape_of
from jacexp.report.study.lines import Line, Study

PIXELS = "(pixels in [0, 1])"
CURVES = (
    Axis("white_noise", "white noise, clipped", f"σ {PIXELS}", "sigma"),
    Axis("gaussian", "Gaussian noise", f"σ {PIXELS}", "sigma"),
    Axis("adversarial", "adversarial step", f"ε {PIXELS}", "epsilon"),
    Axis("pgd", "PGD", "steps", "steps", symlog=1),
    Axis("tpgd", "TPGD", "steps", "steps", symlog=1),
    Axis("square", "Square", "queries", "queries", symlog=10),
    Axis("autoattack", "AutoAttack", "", "epsilon"),
    Axis("autoattack_quick", "AutoAttack, quick", "", "epsilon"),
    Axis("boundary", "boundary", "L2 distance", "radius", unit="same class (%)"),
)
JACOBIAN = (
    Axis("jacobian", "spectral norm", "", "", "sigma1", unit="σ₁(J)"),
    Axis("jacobian", "Frobenius norm", "", "", "frobenius", unit="$\\|J\\|_F$"),
    Axis(
        "jacobian",
        "power iteration",
        "power iterations",
        "n_iter",
        "relative_error",
        unit="relative error",
        is_log=True,
    ),
    Axis("jacobian", "product of norms", "", "", "bound_reshaped_error", unit="relative error"),
)


def further(curves: pd.DataFrame, known: Sequence[str]) -> list[Axis]:
    """Make an axis of each evaluation of one's own that is stored, by its variable and statistic."""
    own = curves[~curves["eval"].isin(known) & (curves["eval"] != "accuracy")]
    found = own[["eval", "variable", "statistic"]].drop_duplicates().itertuples(index=False, name=None)
    return [
        Axis(
            name,
            f"{name} {statistic}".strip(),
            variable,
            variable,
            statistic,
            unit=statistic or "accuracy (%)",
        )
        for name, variable, statistic in found
    ]


@dataclass(frozen=True)
class Panel:
    """The points of one axis."""

    axis: Axis
    points: pd.DataFrame
    """One row a network and point: run, value, y, check."""
    notes: tuple[str, ...]
    """What was measured and what is left out, one sentence each."""

    def band(self, line: Line) -> pd.DataFrame:
        """Return the mean and deviation over a line's networks at the points that all that were measured have."""
        return common_band(self.points[self.points["run"].isin(line.ids)], "y")


def draw(
    study: Study, curves: pd.DataFrame, axes: Sequence[Axis], kind: str, title: str
) -> tuple[list[Captioned], list[str]]:
    """Draw a panel for each evaluation that any line has.

    Args:
        study: the lines.
        curves: as `jacexp.results.load` returns them.
        axes: the evaluations.
        kind: the end of the figure's name.
        title: of its caption.

    Returns:
        The figure, where there is anything to draw, and one sentence on each line that an evaluation lacks.
    """
    panels = [_panel(study, curves, axis) for axis in axes]
    filled = [panel for panel in panels if len(panel.points)]
    said = _missing(study, filled, list(dict.fromkeys(axis.evaluation for axis in axes)))
    if not filled:
        return [], said
    with style.column_style():
        fig = _figure(study, filled)
    sentences = [
        "Mean over networks, band: one standard deviation (n − 1)",
        *(line.sentence for line in study.lines),
        *dict.fromkeys(note for panel in filled for note in panel.notes),
    ]
    text = caption(f"{study.title}: {title}", sentences, study.how)
    return [Captioned(f"{study.slug}-{kind}", fig, text)], said


def _panel(study: Study, curves: pd.DataFrame, axis: Axis) -> Panel:
    runs = [run for line in study.lines for run in line.ids]
    rows = (curves["eval"] == axis.evaluation) & curves["run"].isin(runs)
    rows &= (curves["variable"] == axis.variable) & (curves["statistic"] == axis.statistic)
    mine, notes = one_threat(curves[rows])
    y = mine["mean"] if axis.statistic else mine["accuracy"]
    points = pd.DataFrame(
        {
            "run": mine["run"],
            "value": mine["value"].astype(float).fillna(0.0),
            "y": y.astype(float),
            "check": mine["check"].fillna(""),
        }
    ).dropna(subset=["y"])
    if points.empty:
        return Panel(axis, points, ())
    n = sorted({int(k) for k in mine["n"].dropna()})
    images = "–".join(f"{k:,}" for k in dict.fromkeys((n[0], n[-1]))) if n else "all"
    said = f"{axis.evaluation}: {mine['threat'].iloc[0]}; {images} test images"
    part = [
        f"{axis.evaluation} of {line.label}: {line.count(list(points['run']))} of its networks"
        for line in study.lines
        if points["run"].isin(line.ids).sum() > 0 and not set(line.ids) <= set(points["run"])
    ]
    flagged = points.loc[points["check"] != "", "check"]
    flags = sorted({flag.split("=")[0] for flags in flagged for flag in flags.split(";")})
    part += (
        [f"{axis.evaluation}: {len(flagged)} points are flagged {', '.join(flags)} (hollow)"] if flags else []
    )
    return Panel(axis, points, (said, *notes, *part))


def _missing(study: Study, panels: Sequence[Panel], evaluations: Sequence[str]) -> list[str]:
    """Return which lines an evaluation lacks, with its command, and in a sentence which ones all lines lack."""
    said, nowhere = [], []
    dataset = study.runs["dataset"].iloc[0]
    for name in evaluations:
        measured = {run for p in panels if p.axis.evaluation == name for run in p.points["run"]}
        lines = [line for line in study.lines if not measured & set(line.ids)]
        if not measured:
            nowhere.append(name)
        elif lines:
            methods = ",".join(dict.fromkeys(str(line.runs["method"].iloc[0]) for line in lines))
            command = f"python scripts/evaluate.py eval={name} dataset={dataset} method={methods}"
            said.append(f"{name} of {'; '.join(line.label for line in lines)} is not measured: {command}")
    if nowhere:
        command = f"python scripts/evaluate.py eval={nowhere[0]} dataset={dataset}"
        said.append(f"{study.title}: not measured, so not drawn: {', '.join(nowhere)} ({command})")
    return said


def _figure(study: Study, panels: Sequence[Panel]) -> Figure:
    n_rows, n_columns = shape_of(len(panels))
    lines = [line for line in study.lines if any(p.points["run"].isin(line.ids).any() for p in panels)]
    n_legend = -(-len(lines) // legend_columns(lines))
    fig = style.figure(0.45 + 0.13 * n_legend + (1.45 if n_columns > 1 else 1.9) * n_rows)
    grid = grid_of(fig, len(panels))
    for axes, panel in zip(grid.flat, panels, strict=False):
        axes.set_title(panel.axis.title + _other_n(panel, lines))
        _draw(axes, panel, lines)
    style.panel_letters(list(grid.flat)[: len(panels)])
    flagged = any((panel.points["check"] != "").any() for panel in panels)
    legend(fig, study.dataset, lines, flagged=flagged)
    return fig


def _other_n(panel: Panel, lines: Sequence[Line]) -> str:
    """Return how many networks a line has in a panel, where they are not all of them."""
    n = [
        (panel.points.loc[panel.points["run"].isin(line.ids), "run"].nunique(), len(line.runs))
        for line in lines
    ]
    measured = [(k, of) for k, of in n if k]
    return f", n = {style.span([k for k, _ in measured])}" if any(k < of for k, of in measured) else ""


def _draw(axes: Axes, panel: Panel, lines: Sequence[Line]) -> None:
    axis = panel.axis
    drawn = [(line, points) for line in lines if len(points := panel.band(line))]
    if panel.points["value"].nunique() == 1:
        _draw_dots(axes, axis, drawn)
        return
    axes.set_ylabel(axis.unit)
    bands = [(str(line.runs["method"].iloc[0]), line.look, points) for line, points in drawn]
    draw_bands(axes, axis, bands, panel.points["value"].max())


def _draw_dots(axes: Axes, axis: Axis, drawn: Sequence[tuple[Line, pd.DataFrame]]) -> None:
    """Draw one number a network: a dot with a bar for each line, the first on top."""
    for y, (line, points) in enumerate(drawn):
        mean, half = float(points["mean"].iloc[0]), float(points["deviation"].iloc[0])
        color = line.look.color
        axes.plot([mean - half, mean + half], [y, y], color=color, linewidth=2.2, alpha=0.35)
        face = "white" if points["flagged"].iloc[0] else color
        axes.plot(mean, y, color=color, marker=line.look.marker, markerfacecolor=face, linestyle="none")
    axes.set_xlabel(axis.unit)
    axes.set_yticks([])
    axes.set_ylim(len(drawn) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")


def legend_columns(lines: Sequence[Line]) -> int:
    """Return how many columns the legend has: fewer where the labels are long."""
    longest = max((len(line.label) for line in lines), default=1)
    return 3 if longest <= 16 else 2 if longest <= 30 else 1


def legend(fig: Figure, dataset: str, lines: Sequence[Line], *, flagged: bool = False) -> None:
    """Put one legend above all panels, with the data set, and the numbers of networks where they differ."""
    n = legend_columns(lines)
    entries = [(style.handle(line.look), line.label, line.count(line.ids)) for line in lines]
    about, one = f"{dataset}, ", "one network a line"
    add_legend(fig, entries, one=one, about=about, flagged=flagged, columns=(n, min(n, 2)))
