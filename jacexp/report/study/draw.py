"""Every figure of a study, and what cannot be drawn of it."""

from collections.abc import Sequence

import pandas as pd

from jacexp.report import style
from jacexp.report.figures import files
from jacexp.report.figures.captioned import Captioned, listed
from jacexp.report.schema import Store
from jacexp.report.study import curves, grid, training
from jacexp.report.study.lines import Study

EVALUATIONS = tuple(dict.fromkeys(axis.evaluation for axis in (*curves.CURVES, *curves.JACOBIAN)))
"""The project's evaluations that can be drawn; those of one's own are, where they are stored."""


def draw(
    study: Study,
    points: pd.DataFrame,
    store: Store,
    *,
    evaluations: Sequence[str] = (),
    metric: str = "val_loss",
    keys: Sequence[str] = (),
) -> tuple[list[Captioned], list[str]]:
    """Draw what is stored of a study.

    Args:
        study: its runs and lines.
        points: of curves, as `jacexp.results.load` returns them.
        store: where they are from.
        evaluations: the curves that are wanted; empty for all.
        metric: of the grid, one of `grid.METRICS`.
        keys: the columns of the grid's axes; by default what was swept.

    Returns:
        Figures with captions, and one sentence on whatever is not drawn.

    Raises:
        ConfigError: for a grid that has more keys than axes.
    """
    groups = ((*curves.CURVES, *curves.further(points, EVALUATIONS)), curves.JACOBIAN)
    wanted = [[a for a in axes if not evaluations or a.evaluation in evaluations] for axes in groups]
    titles = (("curves", "accuracy under noise and attack"), ("jacobian", "norms of the Jacobian"))
    parts = [(list[Captioned](), list(study.notes))]
    parts += [
        curves.draw(study, points, axes, *title) for axes, title in zip(wanted, titles, strict=True) if axes
    ]
    parts += [grid.draw(study, metric, keys), training.draw(study, store)]
    made = [figure for figures, _ in parts for figure in figures]
    with style.column_style():
        for figure in made:
            style.settle(figure.figure)
    return made, [text for _, said in parts for text in said]


def contents(study: Study, made: Sequence[Captioned]) -> dict[str, bytes]:
    """Return the files of a study's figures by name, and their captions as one Markdown text."""
    found = {name: content for figure in made for name, content in files(figure).items()}
    lines = [f"# {study.title}", "", *listed(made)]
    return {**found, f"{study.slug}.md": "\n".join(lines).encode()}
