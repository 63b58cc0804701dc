"""The few arguments of the report's scripts, written as everywhere: ``key=value``."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

from jacexp.errors import ConfigError, JacexpError
from jacexp.report.select import How

Job = Callable[[Path, How], tuple[list[Path], list[tuple[str, str]]]]
"""Takes the folder of results and the way of selection; gives what it wrote and what is missing."""


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
        What they say; the last word counts where two say the same.

    Raises:
        ConfigError: for anything else.
    """
    arguments = Arguments()
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word == "--results" and rest:
            word = f"{word}={rest.pop(0)}"
        key, _, value = word.partition("=")
        if key in ("paths.results", "--results") and value:
            arguments = replace(arguments, results=Path(value))
        elif key == "select" and value in get_args(How):
            arguments = replace(arguments, select="paper" if value == "paper" else "holdout")
        else:
            raise ConfigError(f"cannot read the argument {word!r}; {USAGE}")
    return arguments


def run(job: Job, words: Sequence[str]) -> int:
    """Do a script's job and say what was written and what is missing.

    Returns:
        The exit status: 0, or 1 after an error that is jacexp's own, which is printed without a traceback.
    """
    if "--help" in words or "-h" in words:
        print(f"Reads the stored tables and writes beside them; {USAGE}.")
        return 0
    try:
        arguments = parse(words)
        written, missing = job(arguments.results, arguments.select)
    except JacexpError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for path in written:
        print(f"wrote {path}")
    if missing:
        print("\nmissing, and the command that makes it:")
        print("\n".join(f"  {what}\n    {command}" for what, command in missing))
    return 0
