"""The figures of a page, as Plotly draws them: values over seeds with their spread, and a table of the same values."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from jacexp.report.curves import band
from jacexp.report.groups import text
from jacexp.report.markup import Section
from jacexp.report.page.drawing import (
    LOGARITHMIC,
    MARKERS,
    Figure,
    axes_of,
    band_table,
    lines,
    looks_of,
    new_figure,
)
from jacexp.report.page.grid import grid_of, training_of
from jacexp.report.page.settings import Setting, Sweep, first_of_each_method
from jacexp.report.schema import Store
from jacexp.report.stats import summarize

N_SETTINGS = 40
"""Lines of one figure; a sweep may have hundreds of settings."""

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def figures_of(
    sweep: Sweep, store: Store, curves: pd.DataFrame, epochs: Mapping[str, pd.DataFrame]
) -> list[Figure]:
    """Draw all that is stored of a sweep.

    Args:
        sweep: a network on a data set.
        store: where distances are.
        curves: as `jacexp.results.load` returns them.
        epochs: of each run that has them.

    Returns:
        Curves of noise, attacks and boundaries, the distances, the Jacobian, the grid, and the training.
    """
    drawn = [_curve(sweep, points) for points in _evaluations(sweep, curves)]
    return [
        *drawn,
        *_distances(sweep, store, curves),
        *_numbers(sweep, curves),
        *grid_of(sweep),
        *training_of(sweep, epochs),
    ]


def _evaluations(sweep: Sweep, curves: pd.DataFrame) -> list[pd.DataFrame]:
    """Divide the points of a sweep's curves: what is measured in another way is another figure."""
    mine = curves[
        (curves["dataset"] == sweep.dataset) & (curves["model"] == sweep.model) & (curves["variable"] != "")
    ]
    kinds = ["eval", "variable", "statistic", "threat", "settings"]
    return [points for _, points in mine.groupby(kinds, sort=True) if points["value"].nunique() > 1]


def _curve(sweep: Sweep, points: pd.DataFrame) -> Figure:
    """Draw one evaluation against what it varies."""
    first = points.iloc[0]
    counted = first["statistic"] == ""
    column = "accuracy" if counted else "mean"
    variable, label = axes_of(first)
    bands = {s: band(points[points["run"].isin(s.runs)], column) for s in sweep.settings[:N_SETTINGS]}
    drawing = lines({s: b for s, b in bands.items() if len(b)}, ".2f" if counted else ".4g")
    drawing.update_xaxes(title=variable)
    drawing.update_yaxes(title=label)
    if first["statistic"] == "relative_error":
        drawing.update_yaxes(LOGARITHMIC)
    remarks = [_sentence(points), *_left_out(sweep)]
    if any(b["flagged"].any() for b in bands.values()):
        remarks.append("Hollow points have a flag of the evaluation's self-checks.")
    title = f"{first['eval']}: {label} against {variable}"
    return Figure(title, tuple(remarks), drawing, band_table(bands, variable, label))


def _left_out(sweep: Sweep) -> list[str]:
    more = len(sweep.settings) - N_SETTINGS
    return [f"{more} more settings are in the table of runs."] if more > 0 else []


def _distances(sweep: Sweep, store: Store, curves: pd.DataFrame) -> list[Figure]:
    """Draw the distances to the boundary of one network a method, on the images that all of them classify correctly."""
    found = _stored_distances(sweep, store)
    common = pd.DataFrame({name: distances for name, (_, distances) in found.items()}).dropna()
    if common.empty:
        return []
    drawing = new_figure(showlegend=False)
    looks, rows = looks_of([setting.method for setting, _ in found.values()]), []
    for name, (setting, _) in found.items():
        near = common.loc[np.isfinite(common[name]), name]
        if near.empty:
            continue
        low, left, middle, right, high = np.quantile(near, QUANTILES)
        drawing.add_box(
            name=name, y=[name], orientation="h", q1=[left], median=[middle], q3=[right], lowerfence=[low],
            upperfence=[high], mean=[near.mean()], marker={"color": looks[setting.method].color},
        )  # fmt: skip
        numbers = [f"{number:.4g}" for number in (low, left, middle, right, high, near.mean())]
        rows.append((name, *numbers, str(len(common) - len(near))))
    threats = curves.loc[(curves["eval"] == "boundary") & curves["run"].isin(sweep.runs), "threat"]
    unit = "normalised units" if threats.str.contains("normalised").any() else "pixels in [0, 1]"
    drawing.update_xaxes(title=f"L2 distance, {unit}", rangemode="tozero").update_yaxes(autorange="reversed")
    remarks = (
        f"The {len(common):,} test images that all of them classify correctly. Box: quartiles and median; whiskers: "
        "5 % and 95 %; dashed: mean. Images without a boundary within the largest radius are in no box.",
    )
    headings = ("network", "5 %", "25 %", "median", "75 %", "95 %", "mean", "not found")
    return [Figure("boundary: distance of test images", remarks, drawing, Section("", headings, tuple(rows)))]


def _stored_distances(sweep: Sweep, store: Store) -> dict[str, tuple[Setting, pd.Series]]:
    """Read the distances of the first seed that has some, of each method's best setting that has some."""
    found: dict[str, tuple[Setting, pd.Series]] = {}
    for setting in sweep.settings:
        if setting.method in {s.method for s, _ in found.values()}:
            continue
        for run, seed in zip(setting.group.runs["run"], setting.group.runs["seed"], strict=True):
            stored = store.distances(run)
            if stored is not None:
                found[f"{setting.name}, seed {seed}"] = setting, stored.set_index("index")["distance"]
                break
    return found


def _numbers(sweep: Sweep, curves: pd.DataFrame) -> list[Figure]:
    """Draw what is one number a network, such as σ₁ and the bounds: a point a setting and statistic."""
    mine = curves[(curves["dataset"] == sweep.dataset) & (curves["model"] == sweep.model)]
    mine = mine[(mine["variable"] == "") & (mine["statistic"] != "")]
    return [_number(sweep, points) for _, points in mine.groupby(["eval", "threat", "settings"], sort=True)]


def _number(sweep: Sweep, points: pd.DataFrame) -> Figure:
    measured = {}
    for s in sweep.settings[:N_SETTINGS]:
        own = points[points["run"].isin(s.runs)].groupby("statistic")["mean"]
        if found := {str(name): summarize(sample) for name, sample in own}:
            measured[s] = found
    drawing = new_figure().update_yaxes(LOGARITHMIC, title="mean over test images")
    looks, shown = looks_of([s.method for s in measured]), first_of_each_method(measured)
    for s, found in measured.items():
        drawn = {_words(name): f for name, f in found.items() if not name.endswith("_error")}
        drawing.add_scatter(
            x=list(drawn), y=[f.mean for f in drawn.values()], name=s.name, mode="markers",
            error_y={"array": [0.0 if np.isnan(f.deviation) else f.deviation for f in drawn.values()]},
            marker={"color": looks[s.method].color, "symbol": MARKERS[looks[s.method].marker], "size": 10},
            text=[f"n = {f.n}" for f in drawn.values()], visible=True if s in shown else "legendonly",
        )  # fmt: skip
    rows = tuple(
        (s.name, _words(name), text(f.mean), text(f.deviation), str(f.n))
        for s, found in measured.items()
        for name, f in found.items()
    )
    threat = (
        f"{_sentence(points)} Bars: one standard deviation over networks. Relative errors are in the table."
    )
    headings = ("setting", "statistic", "mean", "s.d.", "n")
    title = f"{points['eval'].iloc[0]}: means over test images"
    return Figure(title, (threat, *_left_out(sweep)), drawing, Section("", headings, rows))


def _words(name: str) -> str:
    return name.replace("_", " ")


def _sentence(points: pd.DataFrame) -> str:
    """Write under which threat an evaluation was made, and its settings."""
    threat, settings = points[["threat", "settings"]].iloc[0]
    return f"{threat[:1].upper()}{threat[1:]}. Settings: {settings}."
