"""Command lines of the scripts: each word is understood or refused in one line, and so is each error."""

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from typing_extensions import override

from jacexp.errors import ConfigError, JacexpError, StoreError, did_you_mean


def explained(words: Sequence[str], text: str | None) -> bool:
    """Print a command's own text if help is asked for; return whether it is."""
    asked = bool({"-h", "--help"} & set(words))
    if asked:
        print(text)
    return asked


def output_file(word: str, formats: Sequence[str]) -> Path:
    """Read the word of ``out=``, before any work.

    Args:
        word: a path.
        formats: the endings that it may have.

    Returns:
        The path.

    Raises:
        ConfigError: for another format, or a folder that is not there.
    """
    path = Path(word)
    if path.suffix not in formats:
        raise ConfigError(f"out={word} must end in {'one of ' * (len(formats) > 1)}{', '.join(formats)}")
    if path.is_dir() or not path.parent.is_dir():
        raise ConfigError(f"out={word} is no file in a folder that exists")
    return path


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


def chosen(
    rows: Sequence[Mapping[str, Any]], filters: Mapping[str, Sequence[str]], where: object
) -> list[bool]:
    """Return which rows have one of the wanted values in every column that is filtered; 0.01 and 1e-2 are the same.

    Args:
        rows: values by column.
        filters: by column, the words that are wanted.
        where: the rows come from, for the message.

    Raises:
        StoreError: for a word that matches none of the rows, or filters that match none together.
    """
    for column, words in filters.items():
        stored = {_word(row[column]): row[column] for row in rows}
        for word in words:
            if not any(_same(value, word) for value in stored.values()):
                raise StoreError(
                    f"{column}={word} matches no run in {where}{did_you_mean(word, stored)}; "
                    f"stored are {_some(sorted(stored))}"
                )
    found = [all(any(_same(row[c], w) for w in words) for c, words in filters.items()) for row in rows]
    if not any(found):
        wanted = " ".join(f"{c}={','.join(words)}" for c, words in filters.items())
        raise StoreError(f"no run in {where} matches {wanted} all at once; leave one of them out")
    return found


def _same(stored: object, wanted: str) -> bool:
    """Compare a stored value with a word of the command line, as numbers where both are."""
    try:
        return float(_word(stored)) == float(wanted)
    except ValueError:
        return _word(stored) == wanted


def _word(value: object) -> str:
    """Return how a value is written on a command line."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    return str(value)


def _some(words: Iterable[str], n: int = 12) -> str:
    """List at most so many words."""
    listed = list(words)
    return ", ".join(listed[:n]) + (f" and {len(listed) - n} more" if len(listed) > n else "")


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
