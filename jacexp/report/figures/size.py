"""P1 Figure 4: plain training and Prediction IBP against the number of training images."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jacexp.report import style
from jacexp.report.curves import size_table
from jacexp.report.figures.captioned import Captioned, Drawn, Gap, caption, not_run, yours
from jacexp.report.panels import add_legend
from jacexp.report.paper import SIZE_METHODS, SIZES, method_name, size_experiment
from jacexp.report.select import Selection
from jacexp.report.sweeps import size_sweep


def draw(selection: Selection) -> Drawn:
    """Draw the error against the size of the training set, and the chosen beta below it."""
    tables = {augmented: size_table(selection, augmented=augmented) for augmented in (False, True)}
    gaps = [gap for augmented, table in tables.items() for gap in _gaps(selection, table, augmented)]
    if all(table.empty for table in tables.values()):
        return Drawn(gaps=tuple(gaps))
    with style.column_style():
        fig = _figure(tables)
    sentences = [
        "Mean over seeds, band: one standard deviation (n − 1)",
        "(b) The β that was chosen",
        *yours(selection, _runs(selection)),
        *not_run([gap.what for gap in gaps]),
    ]
    title = "P1 Figure 4: none and pred_ibp against the size of the MNIST training set"
    return Drawn((Captioned("p1-figure4", fig, caption(title, sentences, selection.how)),), tuple(gaps))


def _runs(selection: Selection) -> list[str]:
    experiments = [size_experiment(size, augmented=a) for size in SIZES for a in (False, True)]
    chosen = [selection.choice(e, method).runs["run"] for e in experiments for method in SIZE_METHODS]
    return [str(run) for runs in chosen for run in runs]


def _figure(tables: Mapping[bool, pd.DataFrame]) -> Figure:
    fig = style.figure(3.4)
    upper, lower = fig.subplots(2, 1, sharex=True, height_ratios=[2.2, 1])
    lines = [(m, a) for a in (False, True) for m in SIZE_METHODS if m in set(tables[a]["method"])]
    for method, augmented in lines:
        mine = tables[augmented][tables[augmented]["method"] == method]
        _draw_errors(upper, method, mine, augmented)
        _draw_strength(lower, method, mine, augmented)
    upper.set(ylabel="test error (%)", yscale="log")
    lower.set(xlabel="training images", ylabel="best β", xscale="log", yscale="log")
    lower.set_xticks(SIZES, [f"{size // 1000}k" for size in SIZES])
    lower.margins(y=0.3)
    style.log_ticks(upper.yaxis, (1, 2, 5))
    style.log_ticks(lower.yaxis, (1, 3))
    style.no_minor_ticks(lower)
    style.panel_letters([upper, lower])
    handles = [style.handle(style.LOOKS[m], hollow=a) for m, a in lines]
    names = [f"{method_name(m)}{', augmented' if a else ''}" for m, a in lines]
    counts = [_n_seeds(m, tables[a]) for m, a in lines]
    add_legend(
        fig, list(zip(handles, names, counts, strict=True)), what="seeds", one="one seed", columns=(2, 1)
    )
    return fig


def _n_seeds(method: str, table: pd.DataFrame) -> str:
    counts = table[table["method"] == method].groupby("size")["seed"].count()
    return style.span(list(counts))


def _draw_errors(axes: Axes, method: str, mine: pd.DataFrame, augmented: bool) -> None:
    errors = mine.groupby("size")["error"]
    spread = errors.std(ddof=1).fillna(0.0)
    band = pd.DataFrame({"mean": errors.mean(), "deviation": spread, "flagged": False})
    style.draw_band(axes, style.LOOKS[method], band, hollow=augmented)


def _draw_strength(axes: Axes, method: str, mine: pd.DataFrame, augmented: bool) -> None:
    strength = mine.groupby("size")["strength"].first().dropna().astype(float)
    if len(strength):
        band = pd.DataFrame({"mean": strength, "deviation": 0.0, "flagged": False})
        style.draw_band(axes, style.LOOKS[method], band, hollow=augmented)


def _gaps(selection: Selection, table: pd.DataFrame, augmented: bool) -> list[Gap]:
    gaps = []
    for method in SIZE_METHODS:
        missing = [s for s in SIZES if s not in set(table.loc[table["method"] == method, "size"])]
        if missing:
            sweep = size_sweep(selection, method, missing, augmented=augmented)
            gaps.append(Gap(sweep.what, sweep.command))
    return gaps
