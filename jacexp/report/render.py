"""The cells of Table 1 as text: both numbers side by side, and in words why a cell has none."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from jacexp.report.select import How, describe
from jacexp.report.sheet import Section, Sheet
from jacexp.report.stats import Summary
from jacexp.report.tables import Block, Row, Table

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


def sheet(table: Table, how: How, put_aside: Sequence[str]) -> Sheet:
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
    return Sheet(
        title=f"{table.paper} Table 1: {table.quantity}",
        intro=tuple(intro),
        sections=tuple(_section(block, shown) for block in table.blocks),
        closing=tuple(section for section in closing if section.rows or section.notes),
    )


def selected(how: How) -> str:
    """Say what the hyper-parameters were selected on."""
    if how == "paper":
        return "**Hyper-parameters were selected on the test set** (`select=paper`), as the papers seem to have done."
    return "Hyper-parameters were selected on held-out training images (`select=holdout`)."


def columns(table: Table) -> list[Column]:
    """Give the columns of a paper's table."""
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
            Column("strength, paper", lambda row: _number(row.paper.strength if row.paper else None)),
            Column("strength, ours", lambda row: _number(row.setting.strength if row.setting else None)),
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
    """Say in a word why a cell has no number."""
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
    return f"{n} of {wanted}" if wanted is not None and n < wanted else str(n)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:g}"


def _ratio(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
