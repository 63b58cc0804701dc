"""What is left at the strongest noise and the strongest attack that is stored, as one table a data set."""

from collections.abc import Sequence

import pandas as pd

from jacexp.report.curves import Curves, curves_of
from jacexp.report.markup import Document, Section
from jacexp.report.paper import EXPERIMENTS, Experiment
from jacexp.report.select import Selection
from jacexp.report.stats import summarize
from jacexp.report.tables import mean, selected

EVALUATIONS = {
    "adversarial": "ε",
    "gaussian": "σ",
    "white_noise": "σ",
    "pgd": "steps",
    "tpgd": "steps",
    "square": "queries",
    "autoattack": "ε",
    "autoattack_quick": "ε",
}
"""The evaluations that count correct answers, and what their axis is called."""


def document(selection: Selection) -> Document:
    """Make the table of accuracies at the last point of every stored curve."""
    experiments = [*EXPERIMENTS["P1"], *EXPERIMENTS["P2"], *selection.others]
    sections = [section for e in experiments if (section := _section(selection, e)) is not None]
    intro = (
        "Test accuracy in percent at the strongest point of each stored curve, mean ± sample standard deviation over "
        "networks (number of networks in brackets).",
        "† marks points that a self-check of the evaluation flags: read them as upper bounds of the accuracy.",
        selected(selection.how),
    )
    return Document("Accuracy under noise and attack", intro, tuple(sections))


def _section(selection: Selection, experiment: Experiment) -> Section | None:
    curves = {name: curves_of(selection, experiment, name) for name in EVALUATIONS}
    stored = {name: c for name, c in curves.items() if len(c.points)}
    if not stored:
        return None
    methods = [m for m, variant in selection.methods(experiment) if not variant]
    methods = [m for m in methods if any(c.networks(m) for c in stored.values())]
    headings = ("method", *(f"`{name}`, {EVALUATIONS[name]} = {_last(c):g}" for name, c in stored.items()))
    rows = tuple((f"`{m}`", *(_cell(c, m) for c in stored.values())) for m in methods)
    notes = [f"`{name}`: {c.threat}" for name, c in stored.items()]
    notes += [f"`{name}`: {note}" for name, c in stored.items() for note in c.notes]
    return Section(experiment.title, headings, rows, tuple(notes))


def _last(curves: Curves) -> float:
    return float(curves.points["value"].max())


def _cell(curves: Curves, method: str) -> str:
    points = curves.points[(curves.points["method"] == method) & (curves.points["value"] == _last(curves))]
    if points.empty:
        return "not run"
    accuracy: Sequence[float] | pd.Series = 100 - points["error"]
    flag = " †" if (points["check"] != "").any() else ""
    return f"{mean(summarize(accuracy))} ({len(points)}){flag}"
