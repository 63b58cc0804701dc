"""Show how far a sweep is, and why runs of it failed or diverged; works from anywhere, while it runs and after.

jacexp status [SWEEP_DIR] [--results DIR] [--watch SECONDS]
"""

import argparse
import math
import time
from collections.abc import Sequence
from pathlib import Path

from jacexp.arguments import Parser
from jacexp.store.folders import OWN, results_folder
from jacexp.sweep.status import Sweep, newest_sweep, troubles


def main(words: Sequence[str]) -> int:
    """Read the command line and print the sweep's line and its troubles.

    Returns:
        The exit status, 0.
    """
    parser = Parser(prog="jacexp status", description="Show how far a sweep is.")
    parser.add_argument(
        "sweep", nargs="?", type=Path, metavar="SWEEP_DIR", help="its folder; default: the newest"
    )
    parser.add_argument(
        "--results",
        type=results_folder,
        default=OWN,
        help="where to look for the newest (default: my_results)",
    )
    parser.add_argument(
        "--watch", type=seconds, metavar="SECONDS", help="look again so often, until it is over"
    )
    arguments = parser.parse_args(words)
    results = str(arguments.sweep or "").removeprefix("paths.results=")
    if arguments.sweep and results != str(arguments.sweep):  # as train.py is told
        arguments.sweep, arguments.results = None, results_folder(results)
    folder = arguments.sweep or newest_sweep(arguments.results)
    sweep, said = Sweep(folder), set[str]()
    print(folder)
    while not show(sweep, said) and arguments.watch:
        time.sleep(max(0.5, arguments.watch))
    return 0


def seconds(text: str) -> float:
    """Read the time between two looks for argparse."""
    if not 0 < (number := float(text)) < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is no number of seconds above 0")
    return number


def show(sweep: Sweep, said: set[str]) -> bool:
    """Print how far a sweep is and the troubles that were not said yet; true if it is over."""
    status = sweep.status()
    new = [trouble for trouble in troubles(status) if trouble not in said]
    said.update(new)
    print("\n".join([status.line(), *new]), flush=True)
    return status.is_over
