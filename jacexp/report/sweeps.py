"""The sweeps behind the papers' tables and figures, and how many of their runs are missing."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Protocol, TypeVar

from jacexp.errors import ConfigError
from jacexp.report import commands
from jacexp.report.grid import grouped, missing_runs, missing_seeds, n_runs, stored_runs
from jacexp.report.paper import EXPERIMENTS, METHODS, SIZE_METHODS, SIZES, size_experiment, strength_of
from jacexp.report.select import Choice, Selection


@dataclass(frozen=True)
class Sweep:
    """One method's runs on one data set for one table or figure, and the command that trains what is missing."""

    table: str
    dataset: str
    method: str
    what: str
    """In words."""
    n_runs: int
    """As many as the paper's grid and seeds have."""
    n_missing: int
    n_again: int
    """Runs that are stored and whose directories are not here, which the command would train again."""
    command: str
    """Trains the whole grid but for what has a directory."""
    exact: tuple[tuple[str, int], ...] = ()
    """Where that would train runs again: the commands that train what is missing alone, with their numbers of runs."""


def table_sweeps(selection: Selection, paper: str) -> Iterator[Sweep]:
    """Iterate over the cells of a paper's Table 1, whether they are complete or not."""
    for e in EXPERIMENTS[paper]:
        for method in METHODS[paper]:
            what, command = f"{method} on {e.dataset}", commands.train(e, method, selection.how)
            yield _sweep(selection, f"{paper.lower()}-table1", what, [selection.choice(e, method)], command)


def size_sweeps(selection: Selection) -> Iterator[Sweep]:
    """Iterate over the lines of P1 Figure 4, each with the sizes that lack runs, or all if none does."""
    for augmented in (False, True):
        for method in SIZE_METHODS:
            lacking = [
                size
                for size in SIZES
                if missing_runs(selection.choice(size_experiment(size, augmented=augmented), method))
            ]
            yield size_sweep(selection, method, lacking or SIZES, augmented=augmented)


def size_sweep(selection: Selection, method: str, sizes: Sequence[int], *, augmented: bool) -> Sweep:
    """Describe the sweep that trains a method on some of the sizes of P1 Figure 4."""
    experiments = [size_experiment(size, augmented=augmented) for size in sizes]
    what = f"{method} on {', '.join(f'{size:,}' for size in sizes)} images of mnist"
    return _sweep(
        selection,
        "p1-figure4",
        what + (" with augmentation" if augmented else ""),
        [selection.choice(e, method) for e in experiments],
        commands.train_sizes(method, sizes, experiments[0], selection.how),
    )


def _sweep(selection: Selection, table: str, what: str, choices: Sequence[Choice], command: str) -> Sweep:
    return Sweep(
        table=table,
        dataset=choices[0].experiment.dataset,
        method=choices[0].method,
        what=what,
        n_runs=sum(map(n_runs, choices)),
        n_missing=sum(map(missing_runs, choices)),
        n_again=_without_directory(selection, choices),
        command=command,
        exact=_exact(selection, choices),
    )


def sweeps(selection: Selection) -> list[Sweep]:
    """List every sweep of the papers. The figures that are not among them show the networks of Table 1."""
    return [*table_sweeps(selection, "P2"), *table_sweeps(selection, "P1"), *size_sweeps(selection)]


class Planned(Protocol):
    """What is trained by one command."""

    @property
    def table(self) -> str:
        """The table or figure."""

    @property
    def method(self) -> str:
        """The method."""

    @property
    def dataset(self) -> str:
        """The data set."""


T = TypeVar("T", bound=Planned)


def narrowed(planned: Sequence[T], *, table: str = "", method: str = "", dataset: str = "") -> list[T]:
    """Keep what is trained for some tables, methods and data sets.

    Args:
        planned: sweeps, or batches of a schedule.
        table: names joined by commas, ``p2-table1`` or ``p1-figure4`` (or ``p1-fig4``); empty keeps all.
        method: likewise.
        dataset: likewise.

    Returns:
        What matches all three, in its order.

    Raises:
        ConfigError: for a name that is not there, with those that are.
    """
    kept = list(planned)
    wanted = {"table": re.sub(r"-fig(?=\d)", "-figure", table), "method": method, "dataset": dataset}
    said = ""
    for key, names in wanted.items():
        if not names:
            continue
        there = list(dict.fromkeys(getattr(item, key) for item in kept))
        unknown = [name for name in names.split(",") if name not in there]
        if unknown:
            raise ConfigError(f"{key}={unknown[0]} is not among {', '.join(there)}{said}")
        kept = [item for item in kept if getattr(item, key) in names.split(",")]
        said += f"{' with' if not said else ''} {key}={names}"
    return kept


def _exact(selection: Selection, choices: Sequence[Choice]) -> tuple[tuple[str, int], ...]:
    if not _without_directory(selection, choices):
        return ()
    return tuple(
        (
            commands.train_points(c.experiment, c.method, points, seeds, selection.how),
            len(seeds) * prod(len(values) for values in points.values()),
        )
        for c in choices
        for points, seeds in grouped([m for m in missing_seeds(c) if m[1]], strength_of(c.method))
    )


def _without_directory(selection: Selection, choices: Iterable[Choice]) -> int:
    folder = selection.store.root / "runs"  # where the command trains, whichever folder a run is stored in
    stored = [run for choice in choices for run in stored_runs(choice)]
    return sum(not (folder / run / "result.json").exists() for run in stored)
