"""The grid of a cell of the papers, point by point: which of its runs are over, and which are missing."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import product

from jacexp.report.paper import grid
from jacexp.report.select import Choice, Setting

Point = Mapping[str, float]
"""A setting of the papers' grid, by column of ``runs.csv``."""


def n_runs(choice: Choice) -> int:
    """Count the runs of a cell of the paper: the settings of its grid times its seeds."""
    return len(list(_points(choice))) * (choice.experiment.n_seeds or 0)


def missing_runs(choice: Choice) -> int:
    """Count the runs of the cell's grid that are not over; one that failed is not, for it will be tried again."""
    return sum(len(seeds) for _, seeds in missing_seeds(choice))


def stored_runs(choice: Choice) -> list[str]:
    """List the runs of the cell's grid that are over, by name."""
    points = list(_points(choice))
    return [
        str(run)
        for setting in choice.settings
        if any(is_at(setting, point) for point in points)
        for run, seed in zip(setting.runs["run"], setting.seeds, strict=True)
        if _is_over(setting, seed)
    ]


def lack(choice: Choice) -> str:
    """Return in words what a cell of the paper lacks: everything, seeds or a part of the grid; empty if nothing."""
    if not choice.settings:
        return "not run"
    lacks = []
    if choice.best and choice.missing_seeds:
        lacks.append(f"seeds {', '.join(map(str, choice.missing_seeds))}")
    unsearched = sum(not any(is_at(s, point) for s in choice.settings) for point in _points(choice))
    if unsearched:
        lacks.append(f"{unsearched} settings of the grid")
    begun = missing_runs(choice) - unsearched * (choice.experiment.n_seeds or 0)
    if choice.best and any(is_at(choice.best, point) for point in _points(choice)):
        begun -= len(choice.missing_seeds)
    if begun > 0:
        lacks.append(f"{begun} runs of settings that are begun")
    return " and ".join(lacks)


def _points(choice: Choice) -> Iterator[Mapping[str, float]]:
    """Iterate over the settings of the paper's grid, by column of ``runs.csv``."""
    axes = grid(choice.experiment, choice.method)
    yield from (dict(zip(axes, values, strict=True)) for values in product(*axes.values()))


def missing_seeds(choice: Choice) -> Iterator[tuple[Mapping[str, float], set[int]]]:
    """Iterate over the points of the grid, with the seeds that the setting there with most of them lacks."""
    for point in _points(choice):
        here = [s for s in choice.settings if is_at(s, point)]
        over = [{seed for seed in s.seeds if _is_over(s, seed)} for s in here]
        yield point, set(range(choice.experiment.n_seeds or 0)) - max(over, key=len, default=set())


def _is_over(setting: Setting, seed: int) -> bool:
    return setting.lost.get(seed) != "failed"


def is_at(setting: Setting, point: Mapping[str, float]) -> bool:
    """Return whether a setting is at a point of the grid."""
    return all(setting.values.get(column) == value for column, value in point.items())


def grouped(
    missing: Sequence[tuple[Point, set[int]]], strength: str | None
) -> Iterator[tuple[dict[str, list[float]], set[int]]]:
    """Join points that differ in strength alone and lack the same seeds."""
    groups: dict[tuple[tuple[tuple[str, float], ...], frozenset[int]], list[float]] = defaultdict(list)
    for point, seeds in missing:
        rest = tuple((c, v) for c, v in point.items() if c != strength)
        groups[rest, frozenset(seeds)] += [point[strength]] if strength else []
    for (rest, lacking), strengths in groups.items():
        yield {c: [v] for c, v in rest} | ({strength: sorted(strengths)} if strength else {}), set(lacking)
