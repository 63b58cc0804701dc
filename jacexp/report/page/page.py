"""A page before it is HTML."""

from dataclasses import dataclass

from jacexp.report.markup import Document, Section
from jacexp.report.page.drawing import Figure
from jacexp.report.page.runs import Run


@dataclass(frozen=True)
class Part:
    """Figures of one network on one data set."""

    title: str
    figures: tuple[Figure, ...]


@dataclass(frozen=True)
class Page:
    """Everything on one page, from top down."""

    title: str
    facts: tuple[str, ...]
    """What is on it, one sentence each."""
    notes: tuple[str, ...]
    """What was put aside while reading, one sentence each."""
    damaged: tuple[str, ...]
    """What could not be read, one sentence each."""
    papers: tuple[Document, ...]
    """The scorecard, whose first section are the verdicts, and the papers' tables; empty for a choice of runs."""
    summary: Document
    parts: tuple[Part, ...]
    table: Section
    runs: tuple[Run, ...]
