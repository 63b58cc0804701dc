"""The command line's promises that Hydra does not keep by itself."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from hydra.core.hydra_config import HydraConfig
from hydra.errors import CompactHydraException
from hydra.types import RunMode
from omegaconf import OmegaConf

from jacexp.errors import JacexpError
from jacexp.train.config import METHODS
from jacexp.train.stop import Stopped


def checked_arguments(arguments: list[str]) -> list[str]:
    """Put the flags of a command line before its overrides, and refuse what Hydra would misread or answer badly.

    Python's parser understands ``-m`` only before or after all overrides.

    Returns:
        The arguments, flags first.

    Raises:
        SystemExit: for several methods at once, or a hyper-parameter that the method does not have, with the right
            way to do it.
    """
    pairs = [(a.lstrip("+"), *a.lstrip("+").partition("=")[::2]) for a in arguments if "=" in a]
    chosen = dict(pair[1:] for pair in pairs).get("method", "")
    if "," in chosen or "(" in chosen:
        _refuse_methods(chosen, [a for a in arguments if not a.lstrip("+").startswith("method=")])
    for word, key, _ in pairs:
        if key.startswith("method."):
            _check_hyperparameter(chosen, key.removeprefix("method."), word)
    flags = [a for a in arguments if a in ("-m", "--multirun")]
    return flags + [a for a in arguments if a not in flags]


def _refuse_methods(chosen: str, rest: list[str]) -> None:
    """Refuse ``+method=a,b``: Hydra reads the grids first and composes the methods after, so both would be lost."""
    names = " ".join(name.strip() for name in chosen.removeprefix("choice(").removesuffix(")").split(","))
    loop = f"for m in {names}; do python train.py +method=$m {' '.join(rest)}; done"
    sys.exit(
        f"error: +method={chosen} would lose the grid of each method. Sweep one method after another:\n  {loop}"
    )


def _check_hyperparameter(method: str, name: str, word: str) -> None:
    """Refuse a hyper-parameter that the method's file does not list; Hydra would advise to append it."""
    path = METHODS / f"{method}.yaml"
    if not path.exists():
        return
    known = [str(key) for key in OmegaConf.load(path).method if key not in ("name", "_target_")]
    if name not in (*known, "name", "_target_"):
        has = ", ".join(f"method.{key}" for key in known) or "no hyper-parameter"
        sys.exit(f"error: {word}: method {method} takes {has}")


@contextmanager
def reported() -> Iterator[None]:
    """Turn jacexp's own errors into one line without a traceback, and say what a request to stop leaves.

    Raises:
        CompactHydraException: with the message of a JacexpError.
        Stopped: as it came, after it was said.
    """
    try:
        yield
    except Stopped as stop:
        print(f"stopped: {stop}", file=sys.stderr)
        raise
    except JacexpError as error:
        raise CompactHydraException(f"error: {error}") from None


@contextmanager
def reported_job() -> Iterator[None]:
    """Do as `reported`, and in a sweep say an error at once, for Hydra goes on and says it at the end.

    Raises:
        JacexpError: as it came, for `reported`.
    """
    with reported():
        try:
            yield
        except JacexpError as error:
            if HydraConfig.get().mode is RunMode.MULTIRUN:
                print(f"error: {error}", file=sys.stderr)
            raise
