"""What a claim is: where the paper makes it, in which words, and the test that decides it."""

from collections.abc import Callable
from dataclasses import dataclass

from jacexp.report.select import Selection
from jacexp.report.stats import Evidence


@dataclass(frozen=True)
class Claim:
    """One row of the scorecard."""

    where: str
    text: str
    paper: str
    """The paper's numbers."""
    test: Callable[[Selection], Evidence]
