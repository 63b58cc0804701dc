"""Command lines of the scripts: each word is understood or refused in one line, and so is each error."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from typing_extensions import override

from jacexp.errors import ConfigError, JacexpError


def pairs(words: Sequence[str], usage: str) -> dict[str, str]:
    """Read words of the form ``key=value``.

    Args:
        words: of a command line.
        usage: what there is, for the message.

    Returns:
        Values by key, in their order.

    Raises:
        ConfigError: for a word without a key or a value, and for a key that comes twice.
    """
    found: dict[str, str] = {}
    for word in words:
        key, _, value = word.partition("=")
        if not (key.strip() and value.strip()):
            raise ConfigError(f"cannot read the argument {word!r}; {usage}")
        if key in found:
            raise ConfigError(f"{key} is given twice, as {found[key]} and as {value}; give it once")
        found[key] = value
    return found


class Parser(argparse.ArgumentParser):
    """An argparse parser whose errors are ConfigErrors, so that they are one line as all others."""

    @override
    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message}; see {self.prog} --help")


def run_script(main: Callable[[Sequence[str]], int], stopped: str = "stopped") -> NoReturn:
    """Run a script's main on the words of the command line and exit.

    The exit status is main's; 1 after an error of jacexp's own, which is printed as one line; 130 after Ctrl-C; 141, as
    a shell has it, after whoever read the output has gone.

    Args:
        main: returns the exit status.
        stopped: what is printed after Ctrl-C.
    """
    try:
        status = main(sys.argv[1:])
        sys.stdout.flush()
    except JacexpError as error:
        print(f"error: {error}", file=sys.stderr)
        status = 1
    except KeyboardInterrupt:
        print(stopped, file=sys.stderr)
        status = 130
    except BrokenPipeError:
        # Or the interpreter would flush what is left into the closed pipe at its end, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 141
    sys.exit(status)
