"""Both papers' Table 1 with the stored results beside it: what each cell holds, and as text."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from jacexp.report import commands
from jacexp.report.grid import lack
from jacexp.report.groups import text
from jacexp.report.markup import Document, Section
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
from jacexp.report.select import Choice, How, Selection, Setting, describe, percent
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
    n_yours: int = 0
    """How many of the chosen setting's runs are the user's, where those of the reference are shown too."""

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
            n_yours=int(choice.runs["run"].isin(selection.store.yours).sum()),
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


DEVIATION = (
    "± is the sample standard deviation over seeds (n − 1 in the denominator); P2 calls its own one standard "
    "deviation, P1 does not say. Differences are to `none`, in percentage points, paired by seed, with the 95 % "
    "interval of Student's t."
)


@dataclass(frozen=True)
class Column:
    """One column: its heading and what it shows of a row."""

    heading: str
    cell: Callable[[Row], str]


def document(table: Table, how: How, put_aside: Sequence[str]) -> Document:
    """Write a table's cells as text.

    Args:
        table: one paper's.
        how: the way of selection.
        put_aside: what was left out while reading the store.

    Returns:
        One section a data set; then, for Markdown, what is missing and what was put aside.
    """
    intro = [f"{table.citation}. {DEVIATION}", selected(how)]
    if table.paper == "P1":
        intro.append(
            "Times are relative to `none`: the paper's of an epoch, ours of a step at batch size 32."
        )
    shown = columns(table)
    closing = [Section("Missing", ("what", "command"), tuple((w, f"`{c}`") for w, c in table.missing))]
    closing += [Section("Put aside while reading", (), (), tuple(put_aside))]
    return Document(
        title=f"{table.paper} Table 1: {table.quantity}",
        intro=tuple(intro),
        sections=tuple(_section(block, shown) for block in table.blocks),
        closing=tuple(section for section in closing if section.rows or section.notes),
    )


def selected(how: How) -> str:
    """Return a sentence on what the hyper-parameters were selected on."""
    if how == "paper":
        return "**Hyper-parameters were selected on the test set** (`select=paper`), as the papers seem to have done."
    return "Hyper-parameters were selected on held-out training images (`select=holdout`)."


def columns(table: Table) -> list[Column]:
    """Return the columns of a paper's table."""
    shown = [
        Column("method", lambda row: f"`{row.label}`"),
        Column("paper", _paper),
        Column("ours", lambda row: mean(row.result) if row.result else outcome(row)),
        Column("n", _n),
        Column("difference to `none`", lambda row: interval(row.difference) if row.difference else "–"),
    ]
    if table.paper == "P1":
        return [
            *shown,
            Column("strength, paper", lambda row: text(row.paper.strength if row.paper else None)),
            Column("strength, ours", lambda row: text(row.setting.strength if row.setting else None)),
            Column("time, paper", lambda row: _ratio(row.paper_time)),
            Column("time, ours", lambda row: _ratio(row.time)),
        ]
    return [*shown, Column("setting", lambda row: describe(row.setting) if row.setting else "–")]


def _section(block: Block, shown: Sequence[Column]) -> Section:
    own = "" if block.is_papers else " (not an experiment of the paper)"
    headings = tuple(column.heading for column in shown)
    rows = tuple(tuple(column.cell(row) for column in shown) for row in block.rows)
    return Section(block.experiment.title + own, headings, rows, block.notes)


def outcome(row: Row) -> str:
    """Return the word that stands for a number that is not there."""
    lost = [end for setting in row.choice.settings for end in setting.lost.values()]
    if not row.choice.settings:
        return "not run"
    return "diverged" if "diverged" in lost else "failed" if lost else "no validation"


def interval(s: Summary) -> str:
    """Write a mean with its 95 % interval, as in ``+0.65 [+0.41, +0.89]``."""
    text = f"{s.mean:+.2f} [{s.low:+.2f}, {s.high:+.2f}]" if s.n > 1 else f"{s.mean:+.2f} (n = 1)"
    return text.replace("-", "−")


def mean(s: Summary) -> str:
    """Write a mean with its deviation, as in ``91.10 ± 0.06``."""
    return f"{s.mean:.2f} ± {s.deviation:.2f}" if s.n > 1 else f"{s.mean:.2f}"


def _paper(row: Row) -> str:
    if row.paper is None:
        return "–"
    # P1 prints one digit for CIFAR-10, two for MNIST.
    digits = 1 if row.choice.experiment.paper == "P1" and row.choice.experiment.dataset == "cifar10" else 2
    return f"{row.paper.value:.{digits}f} ± {row.paper.deviation:.{digits}f}"


def _n(row: Row) -> str:
    n, wanted = row.result.n if row.result else 0, row.choice.experiment.n_seeds
    text = f"{n} of {wanted}" if wanted is not None and n < wanted else str(n)
    return f"{text}, {row.n_yours} yours" if row.n_yours else text


def _ratio(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
