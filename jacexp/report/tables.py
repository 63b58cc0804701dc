"""Both papers' Table 1 with the stored results beside it: what each cell holds. `render` writes them down."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from jacexp.report import commands
from jacexp.report.grid import lack
from jacexp.report.paper import (
    CITATION,
    EXPERIMENTS,
    METHODS,
    N_TEST,
    N_TRAIN,
    P1_BATCH,
    TABLE1,
    Experiment,
    Printed,
)
from jacexp.report.select import Choice, Selection, Setting, percent
from jacexp.report.stats import Summary, summarize
from jacexp.report.timings import comparable


@dataclass(frozen=True)
class Row:
    """One method in one experiment."""

    choice: Choice
    paper: Printed | None
    """The paper's cell, where it has one."""
    result: Summary | None
    """Percent over seeds; None where nothing is stored that can be shown."""
    difference: Summary | None
    """Percentage points to ``none``, one number a common seed; None for ``none`` itself and without a common seed."""
    paper_time: float | None
    """The paper's time of an epoch over that of ``none``."""
    time: float | None
    """The same from ``timing.csv``: the median of the step's time over plain."""
    command: str
    """What fills an empty cell or adds the seeds that are missing; empty where nothing is."""

    @property
    def label(self) -> str:
        """The method, and its variant in brackets."""
        return f"{self.choice.method} ({self.choice.variant})" if self.choice.variant else self.choice.method

    @property
    def setting(self) -> Setting | None:
        """The setting that was chosen."""
        return self.choice.best


@dataclass(frozen=True)
class Block:
    """One data set of a table."""

    experiment: Experiment
    rows: tuple[Row, ...]
    notes: tuple[str, ...]

    @property
    def is_papers(self) -> bool:
        """Whether the paper ran this experiment."""
        return self.experiment.n_seeds is not None


@dataclass(frozen=True)
class Table:
    """One paper's Table 1: its own experiments first, then what else is stored under its protocol."""

    paper: str
    quantity: str
    """What is averaged, with its unit."""
    blocks: tuple[Block, ...]

    @property
    def citation(self) -> str:
        """Where the paper's numbers are from."""
        return f"{CITATION[self.paper]}, Table 1"

    @property
    def missing(self) -> list[tuple[str, str]]:
        """What the paper's cells lack and the command that adds it, each once."""
        cells = [(block.experiment, row) for block in self.blocks for row in block.rows if row.command]
        return [(f"{row.label} on {e.dataset}: {lack(row.choice)}", row.command) for e, row in cells]


def table(selection: Selection, paper: str) -> Table:
    """Fill one paper's Table 1 from the stored runs.

    Args:
        selection: the stored runs and the way of selection.
        paper: ``P1`` or ``P2``.

    Returns:
        The paper's experiments, whether stored or not, and whatever else is stored under its protocol.
    """
    quantity = "test error, %" if paper == "P1" else "test accuracy, %"
    others = [e for e in selection.others if e.paper == paper]
    return Table(paper, quantity, tuple(_block(selection, e) for e in (*EXPERIMENTS[paper], *others)))


def _block(selection: Selection, experiment: Experiment) -> Block:
    plain = percent(selection.choice(experiment, "none"))
    steps = _steps(selection, experiment)
    printed = TABLE1[experiment.paper].get(experiment.dataset, {}) if experiment.n_seeds is not None else {}
    rows = []
    for method, variant in selection.methods(experiment):
        choice = selection.choice(experiment, method, variant)
        mine = percent(choice)
        difference = (mine - plain).dropna() if (method, variant) != ("none", "") else pd.Series(dtype=float)
        ratios = steps.loc[steps["method"] == method, "ratio"] if not variant else pd.Series(dtype=float)
        row = Row(
            choice=choice,
            paper=printed.get(method) if not variant else None,
            result=summarize(mine) if len(mine) else None,
            difference=summarize(difference) if len(difference) else None,
            paper_time=_paper_time(printed, method) if not variant else None,
            time=float(ratios.median()) if len(ratios) else None,
            command=_command(selection, choice),
        )
        rows.append(row)
    devices = [f"times: {device}" for device in sorted(set(steps["device"]))]
    return Block(experiment, tuple(rows), (*_notes(experiment, rows), *devices))


def _steps(selection: Selection, experiment: Experiment) -> pd.DataFrame:
    """Pick the timed steps that P1's table shows; P2's has no such column."""
    methods = METHODS["P1"] if experiment.paper == "P1" else ()
    steps = comparable(selection.store.timing, experiment.model, methods)
    return steps[steps["batch_size"] == P1_BATCH]


def _paper_time(printed: Mapping[str, Printed], method: str) -> float | None:
    seconds = printed[method].seconds if method in printed else None
    plain = printed["none"].seconds if "none" in printed else None
    return seconds / plain if seconds and plain else None


def _command(selection: Selection, choice: Choice) -> str:
    if choice.experiment.n_seeds is None or choice.variant:
        return ""
    return commands.train(choice.experiment, choice.method, selection.how) if lack(choice) else ""


def _notes(experiment: Experiment, rows: Sequence[Row]) -> list[str]:
    notes = [f"{row.label}: {note}" for row in rows for note in row.choice.notes]
    if experiment.dataset in N_TRAIN:  # a set of the papers, whose size is known
        sizes = {int(n) for row in rows for n in row.choice.runs["n_test"]}
        notes += [f"tested on n_test = {n:,} of the {N_TEST:,} test images" for n in sorted(sizes - {N_TEST})]
    return notes
