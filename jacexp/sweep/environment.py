"""What the processes and clusters of a sweep find: libraries that are extras, and environment variables."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from jacexp.errors import JacexpError


def library(name: str, extra: str) -> Any:
    """Import a library that is an extra.

    Returns:
        The library.

    Raises:
        JacexpError: if it is not installed.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise JacexpError(
            f'this launcher needs {name}, which is not installed: pip install "jacexp[{extra}]"'
        ) from error


@contextmanager
def environment(**defaults: str) -> Iterator[None]:
    """Set variables that the user has not set, for the processes that are started meanwhile."""
    here = str(Path(__file__).parents[2])  # a checkout that is not installed
    paths = [here, *filter(None, [os.environ.get("PYTHONPATH")])]
    before = dict(os.environ)
    os.environ.update({**defaults, **os.environ, "PYTHONPATH": os.pathsep.join(paths)})
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
