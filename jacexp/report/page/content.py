"""What a page shows: verdicts, tables, figures and runs, each made by the function that makes it elsewhere."""

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from jacexp.report.epochs import read_epochs
from jacexp.report.markup import Document, Section
from jacexp.report.page.figures import figures_of
from jacexp.report.page.page import Page, Part
from jacexp.report.page.runs import runs_of, table_of
from jacexp.report.page.settings import sweeps_of
from jacexp.report.schema import Store
from jacexp.report.summary import document, summary
from jacexp.report.write import documents_of

WITHOUT = ("not run", "–")
"""What stands in a cell without a result."""


def page_of(
    store: Store,
    runs: pd.DataFrame,
    curves: pd.DataFrame,
    *,
    title: str = "",
    by: Sequence[str] = ("dataset", "model", "method", "strength"),
    versus: str | None = None,
) -> Page:
    """Gather a page.

    Args:
        store: all that is stored.
        runs: those that are shown, as `jacexp.results.load` returns them.
        curves: of these runs, likewise.
        title: names a choice of runs; empty for all of them, which alone are compared with the papers.
        by: the columns that make a group of the summary.
        versus: the group that the others are compared with, as in `jacexp.report.summary.summary`.

    Returns:
        The page.

    Raises:
        ConfigError: for a baseline that is not there, or runs that cannot be paired.
        StoreError: for distances that are damaged.
    """
    table, notes = summary(runs, by, versus)
    epochs, damaged = read_epochs(store, list(runs["run"]))
    sweeps = sweeps_of(runs)
    parts = [Part(s.title, tuple(figures_of(s, store, curves, epochs))) for s in sweeps]
    names = {run: setting.name for sweep in sweeps for setting in sweep.settings for run in setting.runs}
    papers, outcome = ((), "") if title else _papers(store)
    yours = ["Your runs are marked as yours; the others are the reference's."] * (
        runs["source"].nunique() > 1
    )
    facts = [
        f"{len(runs):,} runs of {_list(runs['method'])} on {_list(runs['dataset'])}, started from "
        f"{runs['started'].min()[:10]} to {runs['started'].max()[:10]}; {len(curves):,} points of curves."
    ]
    return Page(
        title or "All stored results",
        (*facts, *yours, *([outcome] if outcome else [])),
        (*([f"your results are left out: {store.damage}"] if store.damage else []), *store.notes),
        tuple(damaged),
        papers,
        document("", table, notes, by, versus),
        tuple(part for part in parts if part.figures),
        table_of(runs),
        tuple(runs_of(store, runs, curves, epochs, names)),
    )


def _list(words: pd.Series) -> str:
    return ", ".join(sorted(set(words)))


def _papers(store: Store) -> tuple[tuple[Document, ...], str]:
    """Return the parts of the papers' tables and scorecard that have a result."""
    made = documents_of(store, "holdout")
    scorecard = made.documents.pop("scorecard")
    tables = [
        replace(d, sections=tuple(filter(_has_result, d.sections)), closing=())
        for d in made.documents.values()
    ]
    is_tested = any(score.verdict != "not run" for score in made.scored)
    shown = [*([scorecard] if is_tested else []), *(d for d in tables if d.sections)]
    return tuple(shown), made.outcome.capitalize() + "." if is_tested else ""


def _has_result(section: Section) -> bool:
    at = section.headings.index("ours") if "ours" in section.headings else 1
    return any(row[at] not in WITHOUT for row in section.rows)
