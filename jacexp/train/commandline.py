"""The command line's promises that Hydra does not keep by itself: one line for whatever is wrong."""

import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from jacexp.errors import ConfigError, JacexpError, did_you_mean
from jacexp.train.config import METHODS, REPLACED, RunConfig
from jacexp.train.keys import known_keys, no_such_key
from jacexp.train.stop import Stopped

GROUPS = {
    name: sorted(path.stem for path in (METHODS.parent / name).glob("*.yaml"))
    for name in ("method", "dataset", "protocol")
}
"""The files that must be chosen, by their folder."""

OPTIMIZERS = sorted(path.stem for path in (METHODS.parent / "train" / "optimizer").glob("*.yaml"))
"""The optimisers that have a file."""

LAUNCHERS = {
    **{
        n: f"jacexp_{n}"
        for n in ("sequential", "fused", "processes", "submitit_local", "submitit_slurm", "ray")
    },
    "joblib": "jacexp_processes",  # its former name
}
"""What Hydra calls the launchers that a user names."""

OPTIONAL = ("model", "logger", "train/optimizer", "hydra/launcher", "hydra/sweeper")
"""The folders of files that need not be chosen."""

SWEEPS = re.compile(r"~?grid\..*|hydra[/.](launcher|sweeper)(\..*)?")
"""The keys that only a sweep reads."""

FLAGS = {"-m", "--multirun", "-c", "--cfg", "-i", "--info", "-h", "--help", "--hydra-help"}
"""Hydra's flags that sweep, or show a configuration instead of training."""

NO_NAME = re.compile(r"|null|true|false|[-+.\d]+")
"""What Hydra does not take for the name of a file."""


def checked_arguments(arguments: list[str]) -> list[str]:
    """Put the flags of a command line behind its overrides, and refuse what Hydra would misread or answer badly.

    Python's parser understands ``-m`` only before or after all overrides.

    Returns:
        The arguments, flags last.

    Raises:
        ConfigError: for a word without a key, a key that is removed or given twice, several methods at once, a
            protocol's label, or a hyper-parameter that the method does not have, with the right way to do it.
    """
    arguments = _with_dry_launcher(arguments)
    for word in arguments:
        if word.startswith("~") and not word.startswith("~grid."):
            raise ConfigError(
                f"{word}: a key cannot be removed, but for one of the grid by ~grid.KEY, or all by grid=null"
            )
        if word.lstrip("+").startswith("="):
            raise ConfigError(f"{word}: write KEY=VALUE")
    pairs = [(a, *a.lstrip("+").partition("=")[::2]) for a in arguments if "=" in a and a[0] not in "-~"]
    _refuse_repetitions(pairs)
    chosen = dict(pair[1:] for pair in pairs).get("method", "")
    if "," in chosen or "(" in chosen:
        _refuse_methods(chosen, [a for a in arguments if not a.lstrip("+").startswith("method=")])
    _refuse_unread(pairs)
    for word, key, value in pairs:
        if key in GROUPS and NO_NAME.fullmatch(value):
            raise ConfigError(f"{word}: there is no such choice; {key} is one of {', '.join(GROUPS[key])}")
        if key in OPTIONAL and NO_NAME.fullmatch(value):
            raise ConfigError(f"{word}: there is no such choice; leave {key} out, or name one of its files")
        if key == "grid" and value != "null" and value[:1] != "{":
            raise ConfigError(f"{word}: write grid=null for no grid, or KEY=VALUES to sweep one more key")
        if key in ("protocol.name", "protocol.paper"):
            raise ConfigError(f"{word} would label runs only; choose a protocol by protocol=NAME")
        if key.startswith("method."):
            _check_hyperparameter(chosen, key, word)
    _refuse_sweeps(arguments)
    arguments = [_with_full_launcher(word) for word in arguments]
    overrides = [a for a in arguments if a[:1] == "~" or ("=" in a and a[:1] != "-")]
    return overrides + [a for a in arguments if a not in overrides]


def _with_dry_launcher(arguments: list[str]) -> list[str]:
    """Hand ``--dry`` on to the launcher, for Hydra's own parser does not know it."""
    if "--dry" not in arguments:
        return arguments
    if not {"-m", "--multirun"} & set(arguments):
        raise ConfigError("--dry tells what a sweep would train: add -m")
    return [*(word for word in arguments if word != "--dry"), "hydra.launcher.dry=true"]


def _with_full_launcher(word: str) -> str:
    """Write ``hydra/launcher=fused`` with the name that Hydra knows, for other plugins have some of the short ones."""
    key, _, name = word.partition("=")
    full = LAUNCHERS.get(name) if key == "hydra/launcher" else None
    return f"{key}={full}" if full else word


def _refuse_repetitions(pairs: Sequence[tuple[str, str, str]]) -> None:
    """Refuse a key that is given twice: Hydra takes the last value without a word."""
    given: dict[str, str] = {}
    for word, key, _ in pairs:
        if key in given:
            raise ConfigError(f"{key} is given twice, as {given[key]} and as {word}; keep one")
        given[key] = word


def _refuse_unread(pairs: Sequence[tuple[str, str, str]]) -> None:
    """Refuse an optimiser by its bare name, and what the class that is chosen in a key's place would not read."""
    keys = [key.replace("train/", "train.") for _, key, _ in pairs]
    for word, key, value in pairs:
        if key in ("train.optimizer", "train.scheduler") and value[:1] != "{":
            files = f"train/optimizer=NAME, one of {', '.join(OPTIMIZERS)}, or "
            choices = files if key == "train.optimizer" else ""
            raise ConfigError(f"{word}: choose {choices}{key}._target_=package.Class")
        for name, replaced in REPLACED.items():
            part, last = f"train.{name}", key.removeprefix("train.")
            is_given = any(k == part or k.startswith(f"{part}.") for k in keys)
            if key != last and last in replaced and is_given:
                raise ConfigError(f"{word}: {part} does not read {key}; leave it out, or give {part} its own")


def _refuse_sweeps(arguments: Sequence[str]) -> None:
    """Refuse what only a sweep reads where there is none, and keys of the grid that Hydra would take apart."""
    is_run = not FLAGS & {word.partition("=")[0] for word in arguments}
    for word in arguments:
        key = word.lstrip("+").partition("=")[0]
        if is_run and SWEEPS.fullmatch(key):
            raise ConfigError(f"{word}: only a sweep reads it; add -m")
        if re.match(r"~?grid\..*\.", key):
            name = key.partition(".")[2]
            raise ConfigError(
                f"{word}: write {name}=VALUE or {name}=VALUES, which take the place of the grid's"
            )


def _refuse_methods(chosen: str, rest: list[str]) -> None:
    """Refuse ``+method=a,b``: Hydra reads the grids first and composes the methods after, so both would be lost."""
    names = " ".join(name.strip() for name in chosen.removeprefix("choice(").removesuffix(")").split(","))
    loop = f"for m in {names}; do python train.py +method=$m {' '.join(rest)}; done"
    raise ConfigError(
        f"+method={chosen} would lose the grid of each method. Sweep one method after another: {loop}"
    )


def _check_hyperparameter(method: str, key: str, word: str) -> None:
    """Refuse a hyper-parameter that the method's file does not list; Hydra would advise to append it."""
    path = METHODS / f"{method}.yaml"
    if path.exists():
        known = [f"method.{name}" for name in OmegaConf.load(path).method]
        if key not in known:
            has = ", ".join(known[2:]) or "no hyper-parameter"
            raise ConfigError(f"{word}: method {method} takes {has}")


@contextmanager
def reported() -> Iterator[None]:
    """Report errors as `refused` does, those of Hydra included, and what a request to stop leaves.

    Raises:
        Stopped: as it came, after it was reported.
    """
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra prints several lines, and advice that does not hold here
    try:
        with refused():
            yield
    except Stopped as stop:
        print(f"stopped: {stop}", file=sys.stderr)
        raise


@contextmanager
def refused() -> Iterator[None]:
    """End the program with one line, without a traceback, for what a user can mend."""
    try:
        yield
    except (JacexpError, HydraException, OmegaConfBaseException) as error:
        print(f"error: {in_one_line(error)}", file=sys.stderr)
        sys.exit(1)


def in_one_line(error: BaseException) -> str:
    """Describe an error in one line, with the nearest key where it is about one that does not exist."""
    if isinstance(error, JacexpError):
        return str(error)
    if isinstance(error, MissingConfigException) and error.options is not None:
        group, _, name = str(error.missing_cfg_file).rpartition("/")
        names = list(LAUNCHERS) if group == "hydra/launcher" else error.options
        near = did_you_mean(name.lower(), names)
        return f"{group}={name}: there is no such choice{near}; {group} is one of {', '.join(names)}"
    if isinstance(error, OverrideParseException):
        return f"{error.override}: cannot be read as KEY=VALUE"
    if "--multirun" in str(error):
        return f"{str(error).split(chr(39))[1]} has several values; add -m to train each of them"
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ConfigAttributeError | ConfigKeyError) and cause.full_key:
            key = str(cause.full_key)
            if key.startswith("hydra.launcher."):
                return (
                    f"{key}: this launcher has no such setting; docs/running.md lists those of each launcher"
                )
            return no_such_key(key, key, list(known_keys(OmegaConf.structured(RunConfig))))
        if isinstance(cause, OmegaConfBaseException):
            about = f"{cause.full_key}: " if cause.full_key else ""
            return about + str(cause.msg or cause).splitlines()[0]
        cause = cause.__cause__ or cause.__context__
    return " ".join(line.strip() for line in str(error).splitlines() if line.strip())
