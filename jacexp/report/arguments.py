"""The few arguments of the report's scripts, written as everywhere: ``key=value``."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from jacexp.arguments import pairs
from jacexp.errors import ConfigError, did_you_mean
from jacexp.report.select import How
from jacexp.report.write import Written
from jacexp.store.merge import merge_runs

Job = Callable[[Path, How], Written]
"""Maps the folder of results and the way of selection to what it wrote."""


@dataclass(frozen=True)
class Arguments:
    """Where the results are, and what hyper-parameters are selected on."""

    results: Path = Path("results")
    select: How = "holdout"


USAGE = "known are paths.results=DIR (or --results DIR) and select=holdout|paper"


def parse(words: Sequence[str]) -> Arguments:
    """Read the words of a command line.

    Args:
        words: ``paths.results=DIR``, ``--results DIR``, ``--results=DIR``, ``select=holdout`` or ``select=paper``.

    Returns:
        What they say.

    Raises:
        ConfigError: for anything else, a key that comes twice, or results that are no folder.
    """
    rest = list(words)
    while "--results" in rest[:-1]:
        at = rest.index("--results")
        rest[at : at + 2] = [f"--results={rest[at + 1]}"]
    found = pairs([word.replace("--results=", "paths.results=", 1) for word in rest], USAGE)
    for key in found:
        if key not in ("paths.results", "select"):
            raise ConfigError(f"{key} is unknown{did_you_mean(key, ['paths.results', 'select'])}; {USAGE}")
    select = found.get("select", "holdout")
    if select not in get_args(How):
        raise ConfigError(f"select={select} is unknown{did_you_mean(select, get_args(How))}; {USAGE}")
    results = Path(found.get("paths.results", "results"))
    if results.exists() and not results.is_dir():
        raise ConfigError(f"paths.results={results} is no folder; {USAGE}")
    return Arguments(results, "paper" if select == "paper" else "holdout")


def run(job: Job, words: Sequence[str]) -> int:
    """Do a script's job and print what was written and what is missing.

    Returns:
        The exit status, 0.
    """
    if {"--help", "-h"} & set(words):
        print(f"Reads the stored tables and writes beside them; {USAGE}.")
        return 0
    arguments = parse(words)
    for error in merge_runs(arguments.results):
        print(f"warning: {error}", file=sys.stderr)
    written = job(arguments.results, arguments.select)
    for path in written.files:
        print(f"wrote {path}")
    if written.missing:
        print("\nmissing, and the command that makes it:")
        print("\n".join(f"  {what}\n    {command}" for what, command in written.missing))
    if written.outcome:
        print(f"\n{written.outcome}")
    return 0
