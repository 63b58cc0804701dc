"""Which keys a configuration may have, and which values: whatever else it holds is refused before any work starts."""

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from omegaconf import DictConfig, OmegaConf

from jacexp.errors import ConfigError, nearest
from jacexp.store.folders import results_folder
from jacexp.train.config import METHODS, OPEN, TrainConfig, protocol_file, unread

ALLOWED: dict[str, tuple[str, ...]] = {
    "select": ("holdout", "paper"),
    "checkpoint": ("last", "best"),
    "progress": ("auto", "bar", "lines", "off"),
    "data.mean": ("channel", "pixel"),
    "data.std": ("channel", "none"),
    "data.augment": ("none", "crop_flip", "affine", "affine_text"),
    "train.momentum_form": ("average", "accumulate"),
    "train.precision": ("32", "bf16-mixed", "64"),
    "train.engine": ("auto", "autograd", "passes"),
    "train.device": ("auto", "cpu", "gpu"),
}
"""The keys that take one of a few words."""

AT_LEAST_ONE = ("train.epochs", "train.step_epochs", "train.batch_size", "train.devices", "data.subset")
"""Counts; the last may also be null."""

READERS = {"gamma": ("exponential", "step"), "step_epochs": ("step",)}
"""The keys of ``train`` that some of the schedules read."""

POSITIVE = ("train.lr", "data.holdout")
"""Numbers that must be finite and above 0."""


ALIKE = 0.8
"""How much a key must be like one that exists: names with dots are long, and alike by what is before the last one."""


def check(cfg: DictConfig) -> None:
    """Refuse a configuration that cannot be run, or that holds what nobody reads, before any work starts.

    Raises:
        ConfigError: naming the key, its value and what is allowed.
    """
    check_keys(cfg)
    if cfg.method is None:
        names = ", ".join(sorted(path.stem for path in METHODS.glob("*.yaml")))
        raise ConfigError(f"no method was chosen: add +method=NAME, with one of {names}")
    _check_values(cfg)
    _check_protocol(cfg.protocol)
    _check_devices(cfg.train)
    _check_schedule(cfg)
    for key in sorted(f"train.{name}" for name in unread(cfg.train)):
        if key in (cfg.grid or {}) and "momentum" in key:
            raise ConfigError(f"grid.{key}: train.optimizer does not read {key}")
    if cfg.logger is not None:
        from jacexp.train.loggers import check_logger  # Lightning takes seconds

        check_logger(cfg.logger)


def _check_schedule(cfg: DictConfig) -> None:
    """Refuse what the schedule does not read, unless it is what the protocol states for another schedule."""
    train = cfg.train
    stated = protocol_file(cfg.protocol.name).get("train", {})
    for key, schedules in READERS.items():
        if train.schedule not in schedules and train[key] != stated.get(key, getattr(TrainConfig, key)):
            readers = " and ".join(f"train.schedule={name}" for name in schedules)
            raise ConfigError(
                f"train.{key}={train[key]:g}: the schedule {train.schedule} does not read it; that is for {readers}"
            )


def check_grid(cfg: DictConfig, known: Collection[str]) -> None:
    """Refuse a grid over keys that do not exist, or without values.

    Args:
        cfg: a run's configuration.
        known: the keys that its method, its network and its data set have of their own.

    Raises:
        ConfigError: for the first one.
    """
    for key, values in cfg.grid.items_ex(resolve=False) if cfg.grid else ():
        if isinstance(values, DictConfig):
            raise ConfigError(f"grid.{key}={values} must be values, such as '0.1,0.2' or 'range(3)'")
        if key not in known and OmegaConf.select(cfg, str(key), default=cfg) is cfg:
            raise ConfigError(no_such_key(f"grid.{key}", str(key), [*known, *known_keys(cfg)]))


def check_keys(cfg: DictConfig, prefix: str = "") -> None:
    """Refuse the keys that were added to a typed configuration: nothing would read them.

    Args:
        cfg: a run's configuration, or Hydra's own.
        prefix: what its keys begin with on the command line.

    Raises:
        ConfigError: for the first one, with the key that it may have meant.
    """
    for key in _added(cfg, prefix):
        # Groups that the classes of Hydra and of its Optuna sweeper do not declare.
        if key == "hydra.env" or key.startswith("hydra.sweeper.sampler."):
            continue
        raise ConfigError(no_such_key(key, key, list(known_keys(cfg, prefix))))


def no_such_key(given: str, key: str, known: Sequence[str]) -> str:
    """Describe a key that does not exist.

    Args:
        given: where it stands, for the message.
        key: what it was meant to be.
        known: the full names of the keys that exist.

    Returns:
        The line, which names the nearest key that exists, or the key's neighbours.
    """
    parent, _, last = key.rpartition(".")
    neighbours = [k for k in known if k.rpartition(".")[0] == parent]
    close = [k for k in known if k.rpartition(".")[2] == last != "_target_"]
    close = close or nearest(key, neighbours if parent else known, ALIKE) or nearest(key, known, ALIKE)
    hint = "python train.py +method=NAME --cfg job shows all"
    if close:
        hint = f"did you mean {' or '.join(close)}?"
    elif parent and neighbours:
        hint = f"{parent} has {', '.join(k.rpartition('.')[2] for k in neighbours)}"
    return f"{given}: there is no such key; {hint}"


def known_keys(node: DictConfig, prefix: str = "") -> Iterator[str]:
    """Names of the leaves that a typed configuration declares, at any depth."""
    for key in _declared(node):
        child = _value(node, key)
        if isinstance(child, DictConfig) and is_dataclass(OmegaConf.get_type(child)):
            yield from known_keys(child, f"{prefix}{key}.")
        else:
            yield prefix + key


def _added(node: DictConfig, prefix: str) -> Iterator[str]:
    """Names of the leaves that it does not declare."""
    declared = _declared(node)
    for key in map(str, node):
        child = _value(node, key)
        # A class or function checks its arguments by its signature.
        if prefix + key in OPEN and child.get("_target_") is not None:
            continue
        if key not in declared:
            yield prefix + ".".join([key, *_first_leaf(child)])
        elif isinstance(child, DictConfig):
            yield from _added(child, f"{prefix}{key}.")


def _declared(node: DictConfig) -> list[str]:
    kind = OmegaConf.get_type(node)
    return [f.name for f in fields(kind)] if is_dataclass(kind) else list(map(str, node))


def _value(node: DictConfig, key: str) -> Any:
    is_open = key not in node or OmegaConf.is_missing(node, key) or OmegaConf.is_interpolation(node, key)
    return None if is_open else node[key]


def _first_leaf(node: Any) -> list[str]:
    if not isinstance(node, DictConfig) or not node:
        return []
    key = str(next(iter(node)))
    return [key, *_first_leaf(_value(node, key))]


def _check_values(cfg: DictConfig) -> None:
    from jacexp.methods.optim import (
        SCHEDULES,  # torch takes seconds, and a key that is wrong is found without it
    )

    for key, words in {**ALLOWED, "train.schedule": SCHEDULES}.items():
        value = OmegaConf.select(cfg, key)
        if value not in words:
            raise ConfigError(f"{key}={value} is not one of {', '.join(words)}")
    for key in AT_LEAST_ONE:
        value = OmegaConf.select(cfg, key)
        if value is not None and value < 1:
            raise ConfigError(f"{key}={value} must be at least 1")
    for key in POSITIVE:
        value = OmegaConf.select(cfg, key)
        if not (math.isfinite(value) and value > 0):
            raise ConfigError(f"{key}={value} must be a finite number above 0")
    for key in ("paths.data", "paths.results", "dataset.path"):
        value = OmegaConf.select(cfg, key)
        if value is not None and not value.strip():
            raise ConfigError(f"{key} is empty; name a place, . for this folder")
    results_folder(cfg.paths.results)
    filters = cfg.model.filters
    if filters is not None and not (len(filters) and min(filters) >= 1):
        raise ConfigError(
            f"model.filters={filters} must be numbers of at least 1, or null for the network's own"
        )
    if cfg.seed < 0:
        raise ConfigError(f"seed={cfg.seed} must not be negative")


def _check_protocol(protocol: DictConfig) -> None:
    """Refuse the name of a protocol of the project on what is another one: results would be counted as its own."""
    stated = protocol_file(protocol.name).get("protocol")
    for key in ("paper", "authors", "datasets") if stated else ():
        value, own = protocol[key], stated.get(key, [] if key == "datasets" else None)
        if value != own:
            raise ConfigError(
                f"protocol.name={protocol.name} labels another protocol, with protocol.{key}={value} and not {own}; "
                "choose one by protocol=NAME, and give one of your own another name"
            )


def _check_devices(train: DictConfig) -> None:
    import torch

    n = train.devices
    if train.device == "gpu" and not torch.cuda.is_available():
        raise ConfigError("train.device=gpu, but PyTorch sees no GPU here; leave it at auto")
    if n > train.batch_size:
        raise ConfigError(
            f"train.devices={n} exceeds train.batch_size={train.batch_size}, which the devices share"
        )
    n_gpus = torch.cuda.device_count() if train.device != "cpu" else 0
    if n > 1 and n > n_gpus > 0:
        raise ConfigError(
            f"train.devices={n}, but PyTorch sees {n_gpus} GPU{'s' if n_gpus > 1 else ''} here; "
            "ask for no more, or for processes on the CPU by train.device=cpu"
        )
    if n > 1 and not torch.distributed.is_available():
        raise ConfigError(f"train.devices={n}, but this PyTorch was built without torch.distributed")
