"""The source files of a user's own classes, which a run's name does not hold: what changed since it began is said."""

import hashlib
import inspect
import json
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from jacexp.store.runs import RunDirectory, write_json
from jacexp.targets import imported

OWN = ("method", "model", "train.optimizer", "train.scheduler")
"""The parts of a configuration that may name a class; a function for data is told by what it returns."""

VERSIONED = ("jacexp.", "torch.", "torchvision.")
"""Packages whose versions every result holds."""

FILE = "sources.json"
"""Of a run: SHA-256 of each source file when it began, by key and class."""


def sources(cfg: DictConfig) -> dict[str, str]:
    """Return the SHA-256 of the file that each class of the user's own is from.

    Args:
        cfg: a run's configuration.

    Returns:
        By key and class, as in ``model._target_=package.Net``; what those files import is not looked at.
    """
    found = {}
    for part in OWN:
        target = OmegaConf.select(cfg, f"{part}._target_")
        if target is None or target.startswith(VERSIONED):
            continue
        key = f"{part}._target_"
        try:
            path = inspect.getsourcefile(imported(target, key))
        except TypeError:  # a builtin, or an object that has no source
            path = None
        if path is not None:
            with Path(path).open("rb") as file:
                found[f"{key}={target}"] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def keep_sources(cfg: DictConfig, directory: RunDirectory) -> None:
    """Write what a run begins with, where it has classes of the user's own and has not begun before."""
    path, own = directory / FILE, sources(cfg)
    if own and not path.exists():
        write_json(path, own)


def changes(runs: Iterable[tuple[DictConfig, RunDirectory]]) -> list[str]:
    """Return which runs began with other source files than those that are there now.

    Args:
        runs: their configurations and directories; begun or not.

    Returns:
        One sentence for each class.
    """
    changed = defaultdict(list)
    for cfg, directory in runs:
        before = _kept(directory)
        now = sources(cfg) if before else {}
        for key in now:
            if before.get(key, now[key]) != now[key]:
                changed[key].append(directory.id)
    return [
        f"{key}: its file has changed since run {named[0]}{f' and {len(named) - 1} more' if len(named) > 1 else ''} "
        "began, whose numbers are the old file's; give the new one another name, or delete the runs' folders"
        for key, named in changed.items()
    ]


def warn_of_changes(runs: Iterable[tuple[DictConfig, RunDirectory]]) -> None:
    """Print what `changes` says."""
    for change in changes(runs):
        print(f"warning: {change}", file=sys.stderr, flush=True)


def _kept(directory: RunDirectory) -> Mapping[str, str]:
    try:
        kept = json.loads((directory / FILE).read_bytes())
    except (OSError, ValueError):
        return {}
    return kept if isinstance(kept, dict) else {}
