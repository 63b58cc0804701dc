"""The program ``jacexp``: one command a module, which is imported when it is called."""

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

from jacexp.arguments import run_script
from jacexp.errors import ConfigError, JacexpError, did_you_mean

COMMANDS = {
    "train": "train one network, or with -m a grid of them",
    "evaluate": "evaluate stored runs: noise, attacks, boundaries, Jacobians",
    "tables": "write both papers' tables and the scorecard",
    "figures": "draw the papers' figures, or those of your own runs",
    "summarize": "print runs in groups: mean, deviation, interval",
    "report": "write one HTML file with everything that is stored",
    "reproduce": "train what the papers' tables lack",
    "status": "show how far a sweep is",
    "benchmark": "time training steps against plain ones",
    "demo": "train spec against none on the embedded digits",
}
"""What each command is for."""

USAGE = "jacexp COMMAND [KEY=VALUE ...]; each command explains itself by --help\n\n" + "\n".join(
    f"  {name:10} {purpose}" for name, purpose in COMMANDS.items()
)

STOPPED = {
    "demo": "stopped; start again to go on",
    "evaluate": "stopped; what was measured is stored, so start again to go on",
}
"""What commands print after Ctrl-C."""

COMPLETION = ("-sc", "--shell-completion")
"""Hydra's flags: ``eval "$(jacexp -sc install=bash)"`` completes by Tab."""


def main(words: Sequence[str] | None = None) -> NoReturn:
    """Run one of the commands, by default that of the command line, and exit with its status."""
    words = sys.argv[1:] if words is None else list(words)
    name = words[0] if words else "--help"
    run_script(lambda _: call(name, words[1:]), stopped=STOPPED.get(name, "stopped"))


def call(name: str, words: Sequence[str]) -> int:
    """Run a command on the words behind its name.

    Returns:
        The exit status.

    Raises:
        ConfigError: for a name that is no command.
        JacexpError: if the libraries that it needs are not installed.
    """
    if name in ("-h", "--help"):
        print(USAGE)
        return 0
    if name in COMPLETION:
        return complete(words)
    if name not in COMMANDS:
        raise ConfigError(
            f"{name} is no command{did_you_mean(name, COMMANDS)}; there are {', '.join(COMMANDS)}"
        )
    try:
        module = import_module(f"jacexp.commands.{name}")
        return module.main(list(words))
    except ModuleNotFoundError as error:
        if (error.name or "jacexp").split(".")[0] == "jacexp":
            raise
        raise JacexpError(
            f"{name} needs {error.name}, which is not installed: pip install {error.name}"
        ) from error


def complete(words: Sequence[str]) -> int:
    """Answer the shell's Tab: the names of commands, and behind ``train`` what Hydra knows."""
    line = os.environ.get("COMP_LINE", "").split(" ")
    if "query=bash" in words and line[1:2] != ["train"]:
        print(
            " ".join(name for name in COMMANDS if name.startswith("".join(line[1:2])))
            if len(line) < 3
            else ""
        )
        return 0
    os.environ["COMP_LINE"] = " ".join([*line[:1], *line[2:]])
    return import_module("jacexp.commands.train").main([COMPLETION[0], *words])
