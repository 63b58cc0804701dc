"""P1 Figures 2 and 3 and P2 Figure 3: what is left under noise and under attack, one line a method."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jacexp.report import style
from jacexp.report.curves import Curves, curves_of
from jacexp.report.figures.captioned import Captioned, Drawn, caption, collect, gaps_of, lacking, not_run
from jacexp.report.panels import Axis, add_legend, draw_bands, grid_of, shape_of
from jacexp.report.paper import EXPERIMENTS, METHODS, Experiment, method_name, set_name
from jacexp.report.select import Selection


@dataclass(frozen=True)
class CurveFigure:
    """One of the papers' figures of curves."""

    name: str
    paper: str
    title: str
    axes: tuple[Axis, ...]
    column: str
    label: str
    meaning: str
    """What the label stands for."""
    methods: tuple[str, ...]
    remark: str = ""
    """What else the reader of the caption has to know."""


PIXELS = "(pixel values in [0, 1])"

ADVERSARIAL = CurveFigure(
    name="p1-figure2",
    paper="P1",
    title="P1 Figure 2: error under adversarial noise",
    axes=(Axis("adversarial", "adversarial", f"ε {PIXELS}"),),
    column="error",
    label="test error (%)",
    meaning="test error, percent",
    methods=("none", "pred_ibp", "loss_ibp", "at", "tbp"),
    remark="The sign of each sample's gradient is taken from its log-odds, where it is the loss's own, because the "
    "softmax of a confident sample saturates in float32 and its loss would lose that sign",
)
GAUSSIAN = CurveFigure(
    name="p1-figure3",
    paper="P1",
    title="P1 Figure 3: error under Gaussian noise",
    axes=(Axis("gaussian", "Gaussian noise", f"σ {PIXELS}"),),
    column="error",
    label="test error (%)",
    meaning="test error, percent",
    methods=ADVERSARIAL.methods,
)
ROBUSTNESS = CurveFigure(
    name="p2-figure3",
    paper="P2",
    title="P2 Figure 3: accuracy lost under noise and attacks",
    axes=(
        Axis("white_noise", "noise", f"σ {PIXELS}"),
        Axis("pgd", "PGD", "steps", symlog=1),
        Axis("tpgd", "TPGD", "steps", symlog=1),
        Axis("square", "Square", "queries", symlog=10),
    ),
    column="change",
    label="accuracy − clean (points)",
    meaning="accuracy minus each network's own clean accuracy, percentage points",
    methods=METHODS["P2"],
)


Panels = Mapping[tuple[Axis, Experiment], Curves]


def draw(selection: Selection, spec: CurveFigure) -> Drawn:
    """Draw a figure of curves for the paper's data sets, and one more for every other experiment with curves."""
    own = [e for e in EXPERIMENTS[spec.paper] if spec.paper == "P1" or e.dataset != "cifar10"]
    others = [e for e in selection.others if e.paper == spec.paper]
    drawn = [_draw(selection, spec, own, spec.name)]
    drawn += [_draw(selection, spec, [e], f"{spec.name}-{e.slug}") for e in others]
    return collect(drawn)


def _draw(selection: Selection, spec: CurveFigure, experiments: Sequence[Experiment], name: str) -> Drawn:
    panels = {(a, e): curves_of(selection, e, a.evaluation) for a in spec.axes for e in experiments}
    papers = experiments[0].n_seeds is not None
    missing = {place: [m for m in spec.methods if not c.networks(m)] for place, c in panels.items() if papers}
    gaps = [
        gap for (a, e), methods in missing.items() for gap in gaps_of(selection, a.evaluation, e, methods)
    ]
    shown = [e for e in experiments if any(len(panels[a, e].points) for a in spec.axes)]
    if not shown:
        return Drawn(gaps=tuple(gaps))
    filled = [a for a in spec.axes if any(len(panels[a, e].points) for e in experiments)]
    with style.column_style():
        fig = _figure(spec, {(a, e): panels[a, e] for a in filled for e in shown})
    sentences = [f"Mean over networks, band: one standard deviation (n − 1); {spec.meaning}"]
    sentences += [spec.remark]
    sentences += [sentence for curves in panels.values() for sentence in _sentences(spec, curves)]
    title = spec.title if papers else f"{spec.title}, on {shown[0].title} (not an experiment of the paper)"
    absent = [lacking(a.evaluation, e, methods) for (a, e), methods in missing.items() if methods]
    text = caption(title, [*sentences, *not_run(absent)], selection.how)
    return Drawn((Captioned(name, fig, text),), tuple(gaps))


def _sentences(spec: CurveFigure, curves: Curves) -> list[str]:
    if curves.points.empty:
        return []
    n = ", ".join(f"{m} {curves.count(m)}" for m in _methods(spec, curves))
    return [f"{curves.experiment.title}, {curves.evaluation}: {curves.threat}; networks: {n}", *curves.notes]


def _methods(spec: CurveFigure, curves: Curves) -> list[str]:
    return [m for m in spec.methods if curves.networks(m)]


def _figure(spec: CurveFigure, panels: Panels) -> Figure:
    """Lay the panels out: data sets side by side, evaluations below each other; one data set alone fills both."""
    n_rows, n_columns = shape_of(len(panels))
    fig = style.figure(0.55 + 1.3 * n_rows if n_columns > 1 else 2.4)
    grid = grid_of(fig, len(panels))
    for axes, ((axis, e), curves) in zip(grid.flat, panels.items(), strict=False):
        name = set_name(e.dataset)
        axes.set_title(f"{name}, {axis.title}" if len(spec.axes) > 1 else name)
        _panel(axes, axis, spec, curves)
    if len({e for _, e in panels}) > 1 and len(spec.axes) > 1:
        _share_scales(grid)
    if n_rows == 1:
        grid[0, 0].set_ylabel(spec.label)
    else:
        fig.supylabel(spec.label, fontsize=7)
    style.panel_letters(list(grid.flat)[: len(panels)])
    _legend(fig, spec, list(panels.values()))
    return fig


def _share_scales(grid: np.ndarray) -> None:
    """Draw a row, which is one evaluation on two data sets, on one scale."""
    for row in grid:
        ends = [axes.get_ylim() for axes in row if axes.lines]
        for axes in row:
            axes.set_ylim(min(low for low, _ in ends), max(high for _, high in ends))


def _panel(axes: Axes, axis: Axis, spec: CurveFigure, curves: Curves) -> None:
    if curves.points.empty:
        axes.set_xlabel(axis.label)
        style.not_run(axes)
        return
    bands = [(m, style.LOOKS[m], curves.band(m, spec.column)) for m in _methods(spec, curves)]
    draw_bands(axes, axis, bands, curves.points["value"].max())


def _legend(fig: Figure, spec: CurveFigure, shown: Sequence[Curves]) -> None:
    lines = []
    for m in spec.methods:
        found = [c for c in shown if c.networks(m)]
        if found:
            yours = " (with yours)" if any("yours" in c.count(m) for c in found) else ""
            count = style.span([len(c.networks(m)) for c in found]) + yours
            lines.append((style.handle(style.LOOKS[m]), method_name(m), count))
    add_legend(fig, lines, flagged=any((c.points["check"] != "").any() for c in shown))
