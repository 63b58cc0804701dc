"""Classes and functions of a user's own, by their import path: what they are, and which arguments they take."""

import inspect
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pkgutil import resolve_name
from typing import Any

from jacexp.errors import ConfigError, did_you_mean
from jacexp.ranges import fits, in_words

PLAIN = (bool, int, float, str, type(None))
"""Types of the defaults that are written into a configuration."""


def imported(path: str, key: str) -> Any:
    """Import what a ``_target_`` names.

    Args:
        path: ``package.module.Name``.
        key: the key that it stands under, for the message.

    Returns:
        The class or function.

    Raises:
        ConfigError: if it cannot be imported, whatever its module raises.
    """
    try:
        found = resolve_name(path)
    except (
        Exception,
        SystemExit,
    ) as error:  # a module of a user's own may raise anything, and end the program
        reason = str(error).splitlines()[0] if str(error) else "no reason given"
        hint = "; put the folder of its package on PYTHONPATH" if _is_absent(error, path) else _nearest(path)
        raise ConfigError(
            f"{key}={path} cannot be imported ({type(error).__name__}: {reason}){hint}"
        ) from error
    if not callable(found):
        raise ConfigError(f"{key}={path} is a {type(found).__name__}, neither a class nor a function")
    return found


def _nearest(path: str) -> str:
    """Return the public name of the path's module that is nearest to one that it does not have."""
    module, _, name = path.rpartition(".")
    names = vars(sys.modules[module]) if module in sys.modules else {}
    return did_you_mean(name, [n for n in names if n[:1] != "_"]) if name not in names else ""


def _is_absent(error: BaseException, path: str) -> bool:
    return isinstance(error, ModuleNotFoundError) and path.split(".")[0] == error.name


def signature(target: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    """Return what a class or function takes, by name, with annotations as types where they can be evaluated."""
    for eval_str in (True, False):  # an annotation that only type checkers can read raises anything
        with suppress(Exception):
            return inspect.signature(target, eval_str=eval_str).parameters
    return {}  # of a builtin


def checked_arguments(
    target: Callable[..., Any], given: Mapping[str, Any], *, key: str, filled: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Check keyword arguments by a signature, and complete them by its defaults.

    An annotation is checked if it is built of bool, int, float, str, None, lists, tuples, ``Literal`` and the types of
    `jacexp.ranges`; others are left to the class itself, and so are the names that ``**kwargs`` takes.

    Args:
        target: the class or function.
        given: the arguments.
        key: what their names begin with on the command line, such as ``model``.
        filled: arguments that it gets in another way where it has them.

    Returns:
        The arguments, with every default that is a plain value.

    Raises:
        ConfigError: for one that is missing or unknown, or whose value is not allowed.
    """
    parameters = signature(target)
    name = getattr(target, "__name__", str(target))
    takes = {p.name: p for p in parameters.values() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    listed = ", ".join(f"{key}.{n}" for n in takes) or "no argument"
    is_open = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    for n in given:
        if n not in takes and not is_open:
            raise ConfigError(f"{key}.{n} is unknown{did_you_mean(n, takes)}: {name} takes {listed}")
    complete = dict(given)
    for n, p in takes.items():
        if n in given:
            _check(given[n], p, f"{key}.{n}")
        elif n in (filled or {}):
            continue
        elif p.default is p.empty:
            raise ConfigError(f"{key}.{n} is missing: {name} takes {listed}")
        elif _is_plain(p.default):
            complete[n] = list(p.default) if isinstance(p.default, tuple) else p.default
    return complete


def _check(value: Any, parameter: inspect.Parameter, name: str) -> None:
    kind = parameter.annotation
    if kind is parameter.empty and type(parameter.default) in (bool, int, float, str):
        kind = type(parameter.default)
    try:
        words = in_words(kind)
    except (KeyError, TypeError):
        return
    if not fits(value, kind):
        raise ConfigError(f"{name}={value}: choose {words}")


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return type(value) in PLAIN
