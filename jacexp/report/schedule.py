"""The missing runs in the order of what they decide, for as many hours as there are."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from jacexp.report import commands
from jacexp.report.grid import Point, grouped, is_at, missing_seeds
from jacexp.report.hours import Cell, Costs
from jacexp.report.paper import EXPERIMENTS, TABLE1, strength_of
from jacexp.report.scorecard import Score
from jacexp.report.select import Choice, Selection

N_NEAR = 4
"""Strengths around the paper's that are searched first."""

FIRST_SEEDS = {0, 1}
"""The seeds with which they are searched."""

FIRST = {"lr": 0.01, "batch_size": 32}
"""Where the paper searches them too, the learning rate and batch size that come first."""

STAGES = range(3)
"""A first search, the other seeds of what it selects, and the rest of the grid."""


@dataclass(frozen=True)
class Batch:
    """Runs of one cell that one command trains."""

    table: str
    dataset: str
    method: str
    command: str
    n_missing: int
    hours: float | None
    """By the stored times of runs like them; None where there are none."""
    decides: tuple[str, ...]
    """The rows of the scorecard that need them."""

    @property
    def what(self) -> str:
        """The runs in words."""
        return f"{self.method} on {self.dataset}"


def schedule(selection: Selection, scored: Sequence[Score]) -> list[Batch]:
    """List the missing runs that decide something, those of the claim that is decided soonest first.

    A cell is searched first at `N_NEAR` strengths around the paper's with `FIRST_SEEDS`; then the setting that is
    selected gets its other seeds; then comes the rest of the papers' grids. Claims are taken in the order of the hours
    that the first two take, those of unknown length last.

    Args:
        selection: the stored runs and the way of selection.
        scored: the scorecard.

    Returns:
        No run twice.
    """
    needs = {s.id: cells_of(s) for s in scored if not s.is_decided and cells_of(s)}
    costs = Costs(selection)
    batches: dict[tuple[Cell, int], list[Batch]] = {}
    for cell, stage in product(dict.fromkeys(c for cells in needs.values() for c in cells), STAGES):
        decides = tuple(id_ for id_, cells in needs.items() if cell in cells)
        batches[cell, stage] = list(_batches(selection, costs, cell, stage, decides))

    def length(id_: str) -> float:
        first_two = [b for c in needs[id_] for stage in STAGES[:2] for b in batches[c, stage]]
        return sum(math.inf if b.hours is None else b.hours for b in first_two)

    order = sorted(needs, key=length)
    early = [(cell, stage) for id_ in order for stage in STAGES[:2] for cell in needs[id_]]
    late = [(cell, STAGES[2]) for id_ in order for cell in needs[id_]]
    return [batch for key in dict.fromkeys([*early, *late]) for batch in batches[key]]


def cells_of(score: Score) -> list[Cell]:
    """List the cells that a row of the scorecard compares, each once."""
    return list(dict.fromkeys(cell for leaf in score.evidence.leaves for cell in leaf.cells))


def _batches(
    selection: Selection, costs: Costs, cell: Cell, stage: int, decides: tuple[str, ...]
) -> Iterator[Batch]:
    """Make the commands of one stage of a cell: exactly its missing runs, as few commands as that takes."""
    (e, method), choice = cell, selection.choice(*cell)
    seconds = costs.seconds(e, method)
    table = "table1" if e in EXPERIMENTS[e.paper] else "figure4"
    for points, seeds in grouped(_stage(choice, stage), strength_of(method)):
        n = len(seeds) * math.prod(len(values) for values in points.values())
        yield Batch(
            table=f"{e.paper.lower()}-{table}",
            dataset=e.dataset,
            method=method,
            command=commands.train_points(e, method, points, seeds, selection.how),
            n_missing=n,
            hours=None if seconds is None else n * seconds / 3600,
            decides=decides,
        )


def _stage(choice: Choice, stage: int) -> list[tuple[Point, set[int]]]:
    """List the missing runs of one stage of a cell, by point of the grid."""
    missing = list(missing_seeds(choice))
    near = nearest(choice, [point for point, _ in missing])
    selected = [p for p, _ in missing if choice.best and is_at(choice.best, p)] or near[:1]
    found = []
    for point, seeds in missing:
        search = seeds & FIRST_SEEDS if point in near else set()
        others = seeds - search if point in selected else set()
        part = (search, others, seeds - search - others)[stage]
        found += [(point, part)] if part else []
    return found


def nearest(choice: Choice, points: Sequence[Point]) -> list[Point]:
    """List the points of a grid that are searched first, the nearest to the paper's strength first."""
    strength = strength_of(choice.method)
    first = [p for p in points if all(p.get(c, value) == value for c, value in FIRST.items())]
    papers = TABLE1[choice.experiment.paper][choice.experiment.dataset][choice.method].strength
    if strength is None or papers is None:
        return first[:N_NEAR]
    ordered = sorted(first, key=lambda p: abs(math.log(p[strength] / papers)))
    # One at least lies on either side, or the best would be at an end of what was searched.
    sides = [next((p for p in ordered if p[strength] * sign > papers * sign), None) for sign in (1, -1)]
    wanted = [*ordered[:1], *(p for p in sides if p), *ordered]
    return [p for i, p in enumerate(wanted) if p not in wanted[:i]][:N_NEAR]
