"""The command line's promises that Hydra does not keep by itself."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from hydra.core.hydra_config import HydraConfig
from hydra.errors import CompactHydraException
from hydra.types import RunMode

from jacexp.errors import JacexpError


def checked_arguments(arguments: list[str]) -> list[str]:
    """Put the flags of a command line before its overrides, and refuse a sweep that would lose its grid.

    Python's parser understands ``-m`` only before or after all overrides. Hydra composes ``+method=a,b`` after it has
    read the grids of the method's file, so both grids would silently be lost.

    Returns:
        The arguments, flags first.

    Raises:
        SystemExit: for ``+method=a,b``, with the right way to do it.
    """
    for argument in arguments:
        key, _, value = argument.partition("=")
        if key.lstrip("+") == "method" and ("," in value or "(" in value):
            names = [name.strip() for name in value.removeprefix("choice(").removesuffix(")").split(",")]
            rest = " ".join(a for a in arguments if a != argument)
            loop = f"for m in {' '.join(names)}; do python train.py +method=$m {rest}; done"
            sys.exit(
                f"error: {argument} would lose the grid of each method. Sweep one method after another:\n  {loop}"
            )
    flags = [a for a in arguments if a in ("-m", "--multirun")]
    return flags + [a for a in arguments if a not in flags]


@contextmanager
def reported() -> Iterator[None]:
    """Turn jacexp's own errors into one line without a traceback; in a sweep, say it at once and go on.

    Raises:
        CompactHydraException: with the message of a JacexpError.
    """
    try:
        yield
    except JacexpError as error:
        if HydraConfig.get().mode is RunMode.MULTIRUN:
            print(f"error: {error}", file=sys.stderr)
        raise CompactHydraException(f"error: {error}") from None
