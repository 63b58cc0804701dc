"""P2 Figure 5: what the spectral norm costs, and how far from it one ends up."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from jacexp.report import commands, style
from jacexp.report.curves import ErrorCurves, error_curves
from jacexp.report.figures.captioned import Captioned, Drawn, Gap, caption, gaps_of, lacking, not_run, yours
from jacexp.report.paper import method_name, set_name
from jacexp.report.select import Selection
from jacexp.report.stats import summarize
from jacexp.report.timings import comparable

METHODS = ("spec", "spec_bound", "analytical", "none")
"""The lines of the left panel; ``analytical`` computes all rows of the Jacobian and their singular values."""


def draw(selection: Selection) -> Drawn:
    """Draw the time of a batch against its size, and the relative error against the power iterations."""
    times = comparable(selection.store.timing, "lenet", METHODS)
    errors = error_curves(selection)
    gaps = gaps_of(selection, "jacobian", errors.experiment, _unmeasured(errors))
    absent = [lacking("jacobian", errors.experiment, _unmeasured(errors))] if gaps else []
    if _untimed(times):
        absent.append(f"step time of lenet for {', '.join(_untimed(times))}")
        gaps.append(Gap(absent[-1], commands.benchmark("lenet")))
    if times.empty and errors.iterations.points.empty:
        return Drawn(gaps=tuple(gaps))
    with style.column_style():
        fig = style.figure(2.25)
        left, right = fig.subplots(1, 2)
        _draw_times(left, times)
        _draw_errors(right, errors)
        style.panel_letters([left, right])
        shown = [m for m in METHODS if m in set(times["method"]) | {"spec", "spec_bound"}]
        handles, names = [style.handle(style.LOOKS[m]) for m in shown], [method_name(m) for m in shown]
        fig.legend(handles, names, loc="outside upper center", ncols=2)
    title = "P2 Figure 5: cost and error of the spectral norm"
    networks = selection.networks(errors.experiment)
    measured = networks.index[networks["method"].isin(["spec", "spec_bound"])]
    sentences = [*_sentences(times, errors), *yours(selection, map(str, measured)), *not_run(absent)]
    return Drawn((Captioned("p2-figure5", fig, caption(title, sentences, selection.how)),), tuple(gaps))


def _untimed(times: pd.DataFrame) -> list[str]:
    return [m for m in METHODS if m not in set(times["method"])]


def _unmeasured(errors: ErrorCurves) -> list[str]:
    missing = [] if errors.iterations.networks("spec") else ["spec"]
    return missing if len(errors.bound) else [*missing, "spec_bound"]


def _sentences(times: pd.DataFrame, errors: ErrorCurves) -> list[str]:
    sentences = []
    if len(times):
        sentences.append(f"(a) Median time of a training step of LeNet on {times['device'].iloc[0]}")
    n = len(errors.iterations.networks("spec"))
    if n:
        sentences.append(
            f"(b) Relative error against the exact norm over test images of {errors.experiment.title}: power "
            f"iterations on {n} spec networks, horizontal lines: the product of the layers' norms on "
            f"{len(errors.bound)} spec_bound networks, kernels as matrices (reshaped, the paper's) or as the "
            "convolutions that they are (operator); means, bands: one standard deviation (n − 1)"
        )
    return [*sentences, *errors.iterations.notes]


def _draw_times(axes: Axes, times: pd.DataFrame) -> None:
    axes.set(title="time of a batch", xlabel="batch size", ylabel="time (ms)")
    if times.empty:
        style.not_run(axes)
        return
    axes.set(xscale="log", yscale="log")
    for method in METHODS:
        by_size = times[times["method"] == method].groupby("batch_size")["seconds"]
        band = pd.DataFrame({"mean": 1e3 * by_size.median(), "deviation": 0.0, "flagged": False})
        if len(band):
            style.draw_band(axes, style.LOOKS[method], band)
    sizes = sorted(int(size) for size in times["batch_size"].unique())
    some = sizes[:: -(-len(sizes) // 4)]
    axes.set_xticks(some, [str(size) for size in some])
    style.no_minor_ticks(axes)


def _draw_errors(axes: Axes, errors: ErrorCurves) -> None:
    title = f"error, {set_name(errors.experiment.dataset)}"
    axes.set(title=title, xlabel="power iterations", ylabel="relative error")
    if not errors.iterations.networks("spec"):
        style.not_run(axes)
        return
    axes.set_yscale("log")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    style.draw_band(axes, style.LOOKS["spec"], errors.iterations.band("spec", "mean"))
    look = style.LOOKS["spec_bound"]
    bounds = {name: summarize(sample) for name, sample in errors.bounds.items() if len(sample)}
    highest = max((s.mean for s in bounds.values()), default=0.0)
    for name, s in bounds.items():
        axes.axhline(s.mean, color=look.color, linestyle=look.line)
        # The lower line is named below itself, so that the names of two that are close stay apart.
        axes.annotate(
            *(name, (1, s.mean)),
            xycoords=("axes fraction", "data"),
            ha="right",
            va="bottom" if s.mean == highest else "top",
            size=6,
        )
        if s.n > 1:
            ends = s.mean - s.deviation, s.mean + s.deviation
            axes.axhspan(*ends, color=look.color, alpha=0.15, linewidth=0)
