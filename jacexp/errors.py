"""Errors that tell a user what to do; command-line programs print them without a traceback."""

from collections.abc import Iterable
from difflib import get_close_matches


class JacexpError(Exception):
    """The base of every error that jacexp raises on purpose."""


class ConfigError(JacexpError):
    """A configuration that cannot be run as it stands."""


class ConvergenceWarning(UserWarning):
    """An iteration that ended before it was as exact as it was asked to be."""


class NoRuleError(ConfigError):
    """A layer that the explicit passes have no rule for."""


class DataError(JacexpError):
    """A data set that is missing, damaged or not what it claims to be."""


class StoreError(JacexpError):
    """A run directory or a stored table that cannot be read or written."""


class RunLockedError(StoreError):
    """A run that another process is training."""


def first_line(error: BaseException) -> str:
    """Return the first line of what an error of any library says, or its kind where it says nothing."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``" (did you mean X?)"`` with the known word that is nearest to one that is not, or nothing if none is."""
    near = nearest(word, known)
    return f" (did you mean {near[0]}?)" if near else ""


def nearest(word: str, known: Iterable[str], alike: float = 0.6) -> list[str]:
    """Return the known word that is nearest to one, if they are at least so much alike: 1 is the same, 0 not at all."""
    return get_close_matches(word, list(known), n=1, cutoff=alike)
