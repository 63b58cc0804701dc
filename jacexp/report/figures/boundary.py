"""P2 Figure 4: the distance from test images to the decision boundary, one network a method."""

import json
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jacexp.report import style
from jacexp.report.curves import Curves, curves_of, distances_of
from jacexp.report.figures.captioned import (
    Captioned,
    Drawn,
    caption,
    collect,
    gaps_of,
    lacking,
    not_run,
    yours,
)
from jacexp.report.paper import EXPERIMENTS, METHODS, Experiment, method_name, set_name
from jacexp.report.select import Selection


def draw(selection: Selection) -> Drawn:
    """Draw the distances for the paper's data sets, and once more for every other experiment with distances."""
    own = [e for e in EXPERIMENTS["P2"] if e.dataset != "cifar10"]
    others = [e for e in selection.others if e.paper == "P2"]
    drawn = [_draw(selection, own, "p2-figure4")]
    drawn += [_draw(selection, [e], f"p2-figure4-{e.slug}") for e in others]
    return collect(drawn)


def seed_to_draw(selection: Selection, experiment: Experiment) -> int | None:
    """Return the seed whose networks are drawn: most methods have distances stored, then on most images; the lowest."""
    tables = {
        int(seed): distances_of(selection, experiment, int(seed))
        for seed in sorted(set(selection.networks(experiment)["seed"]))
    }
    measured = [seed for seed, table in tables.items() if len(table.columns)]
    return max(measured, key=lambda seed: (len(tables[seed].columns), len(tables[seed])), default=None)


def _draw(selection: Selection, experiments: Sequence[Experiment], name: str) -> Drawn:
    seeds = {e: seed_to_draw(selection, e) for e in experiments}
    tables = {e: distances_of(selection, e, seed) for e, seed in seeds.items() if seed is not None}
    papers = experiments[0].n_seeds is not None
    missing = {
        e: [m for m in METHODS["P2"] if e not in tables or m not in tables[e]] for e in experiments if papers
    }
    gaps = [gap for e, methods in missing.items() for gap in gaps_of(selection, "boundary", e, methods)]
    if not tables:
        return Drawn(gaps=tuple(gaps))
    searched = {e: curves_of(selection, e, "boundary") for e in tables}
    normalised = any("normalised" in curves.threat for curves in searched.values())
    unit = "normalised units" if normalised else "pixels in [0, 1]"
    with style.column_style():
        fig = _figure(tables, unit)
    sentences = ["Box: quartiles; whiskers: 5 % and 95 %; white line: median; white dot: mean"]
    for e, table in tables.items():
        sentences.append(
            f"{e.title}: seed {seeds[e]} of each method, the {len(table):,} test images that all classify correctly"
        )
        networks = selection.networks(e)
        shown = networks.index[(networks["seed"] == seeds[e]) & networks["method"].isin(table)]
        sentences += [_search(searched[e]), *yours(selection, map(str, shown))]
        far = [f"{m} {k}" for m in table if (k := int(np.isinf(table[m]).sum()))]
        sentences += (
            [f"No boundary within the largest radius, and in no box: {', '.join(far)}"] if far else []
        )
    own = "" if papers else f", on {experiments[0].title} (not an experiment of the paper)"
    title = f"P2 Figure 4: distance to the decision boundary{own}"
    absent = [lacking("boundary", e, methods) for e, methods in missing.items() if methods]
    text = caption(title, [*sentences, *not_run(absent)], selection.how)
    return Drawn((Captioned(name, fig, text),), tuple(gaps))


def _search(curves: Curves) -> str:
    """Describe how the boundary was searched for, as far as the points beside the distances tell."""
    settings = json.loads(curves.settings or "{}")
    threat = curves.threat[:1].upper() + curves.threat[1:]
    if not {"n_directions", "n_spheres", "max_radius"} <= set(settings):
        return threat
    return (
        f"{threat}: {settings['n_directions']} directions, {settings['n_spheres']} radii up to "
        f"{settings['max_radius']:g}"
    )


def _figure(tables: Mapping[Experiment, pd.DataFrame], unit: str) -> Figure:
    fig = style.figure(0.35 + 1.3 * len(tables))
    panels = list(fig.subplots(len(tables), 1, squeeze=False, sharex=True).flat)
    for axes, (e, table) in zip(panels, tables.items(), strict=True):
        axes.set_title(f"{set_name(e.dataset)} ({len(table):,} test images)")
        _boxes(axes, table)
    panels[-1].set_xlim(left=0)  # once every panel has its boxes, for it holds the other end where it is
    panels[-1].set_xlabel(f"L2 distance to the boundary ({unit})")
    style.panel_letters(panels)
    return fig


def _boxes(axes: Axes, table: pd.DataFrame) -> None:
    methods = [m for m in METHODS["P2"] if m in table]
    for y, method in enumerate(methods):
        x = table.loc[np.isfinite(table[method]), method].to_numpy()
        if len(x):
            low, left, middle, right, high = np.quantile(x, [0.05, 0.25, 0.5, 0.75, 0.95])
            color = style.LOOKS[method].color
            axes.plot([low, high], [y, y], color=color, linewidth=0.8, marker="|", markersize=5)
            axes.barh(y, right - left, left=left, height=0.62, color=color, zorder=2)
            axes.plot([middle, middle], [y - 0.31, y + 0.31], color="white", linewidth=1)
            axes.plot(x.mean(), y, color="white", marker="o")
    axes.set_yticks(range(len(methods)), [method_name(m) for m in methods])
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
