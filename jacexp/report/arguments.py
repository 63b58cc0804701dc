"""The few arguments of the report's scripts, written as everywhere: ``key=value``."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from jacexp.arguments import explained, pairs
from jacexp.errors import ConfigError, did_you_mean
from jacexp.report.beside import folders, make_good
from jacexp.report.select import How
from jacexp.report.write import Written
from jacexp.store.folders import OWN

Job = Callable[[Path, How, Path | None], Written]
"""Maps the folder of results, the way of selection and the reference beside it to what it wrote."""


@dataclass(frozen=True)
class Arguments:
    """Where the results are, and what hyper-parameters are selected on."""

    results: Path = OWN
    select: How = "holdout"
    reference: Path | None = None
    """The results that the project ships, where they are read too."""


KEYS = ("paths.results", "reference", "select")
USAGE = "known are paths.results=DIR (or --results DIR), reference=true|false and select=holdout|paper"


def parse(words: Sequence[str]) -> Arguments:
    """Read the words of a command line.

    Args:
        words: ``paths.results=DIR``, ``--results DIR``, ``--results=DIR``, ``reference=true`` or ``false``,
            ``select=holdout`` or ``select=paper``.

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
        if key not in KEYS:
            raise ConfigError(f"{key} is unknown{did_you_mean(key, KEYS)}; {USAGE}")
    select = found.get("select", "holdout")
    if select not in get_args(How):
        raise ConfigError(f"select={select} is unknown{did_you_mean(select, get_args(How))}; {USAGE}")
    results, reference = folders(found)
    return Arguments(results, "paper" if select == "paper" else "holdout", reference)


def run(job: Job, words: Sequence[str]) -> int:
    """Do a script's job and print what was written and what is missing.

    Returns:
        The exit status: 0, or 1 if the user's results are damaged and were left out.
    """
    text = f"Reads the stored tables, yours in {OWN} and the reference's, and writes beside yours; {USAGE}."
    if explained(words, text):
        return 0
    arguments = parse(words)
    for error in make_good(arguments.results, arguments.reference):
        print(f"warning: {error}", file=sys.stderr)
    written = job(arguments.results, arguments.select, arguments.reference)
    for path in written.files:
        print(f"wrote {path}")
    if written.missing:
        print("\nmissing, and the command that makes it:")
        print("\n".join(f"  {what}\n    {command}" for what, command in written.missing))
    if written.outcome:
        print(f"\n{written.outcome}")
    if written.damage:
        print(f"warning: your results are left out: {written.damage}", file=sys.stderr)
    return int(bool(written.damage))
