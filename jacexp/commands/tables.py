"""Write both papers' Table 1, the table of robustness and the scorecard from what is stored.

jacexp tables [paths.results=DIR] [reference=true|false] [select=holdout|paper]
"""

from collections.abc import Sequence

from jacexp.report.arguments import run
from jacexp.report.write import write_tables


def main(words: Sequence[str]) -> int:
    """Write the tables and return the exit status, as `run` has it."""
    return run(write_tables, words)
