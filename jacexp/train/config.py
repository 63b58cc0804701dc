"""The typed configuration of a run: every key, its type, its default and what values it may take."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field, make_dataclass
from functools import cache
from pathlib import Path
from types import NoneType
from typing import Any, Literal, Union, get_args, get_origin

import torch
from hydra.core.config_store import ConfigStore
from hydra.errors import HydraException
from hydra.utils import get_class
from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from jacexp.errors import ConfigError
from jacexp.methods import Recipe, RegularizedModule


@dataclass
class DatasetConfig:
    """``dataset=``: which images."""

    name: str = MISSING
    path: str | None = None
    """An .npz file to read the set from, instead of torchvision's files; ``dataset=npz`` needs it."""
    networks: dict[str, str] = field(default_factory=dict)
    """The network that each paper uses for such images, by the paper's name."""


@dataclass
class DataConfig:
    """``data.``: what is done to the images."""

    subset: int | None = None
    """Train on this many images, drawn by the seed; None trains on all."""
    holdout: float = 0.1
    """Validate on this fraction (below 1) or number of training images, where ``select=holdout``."""
    mean: str = "channel"
    std: str = "channel"
    augment: str = "none"


@dataclass
class ModelConfig:
    """``model=``: which network."""

    name: str = "${dataset.networks.${protocol.paper}}"
    init: str | None = None
    pool: str = "floor"
    filters: list[int] | None = None


@dataclass
class TrainConfig:
    """``train.``: how the network is optimised, and on what."""

    epochs: int = 50
    batch_size: int = 32
    lr: float = 0.01
    momentum: float = 0.8
    momentum_form: str = "accumulate"
    schedule: str = "constant"
    gamma: float = 0.98
    precision: str = "32"
    engine: str = "auto"
    device: str = "auto"


@dataclass
class ProtocolConfig:
    """``protocol=``: whose rules, and the grids that a bare ``-m`` sweeps."""

    name: str = MISSING
    paper: str = MISSING
    lam: str = MISSING
    """The grid of lam, as a sweep's override reads it."""


@dataclass
class PathsConfig:
    """``paths.``: where data lie and results go."""

    data: str = "${oc.env:JACEXP_DATA,data}"
    results: str = "results"


@dataclass
class RunConfig:
    """One run."""

    method: Any = None
    dataset: DatasetConfig = field(default_factory=DatasetConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    protocol: ProtocolConfig = field(default_factory=ProtocolConfig)
    data: DataConfig = field(default_factory=DataConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    select: str = "holdout"
    checkpoint: str = "last"
    seed: int = 0
    progress: str = "auto"
    logger: Any = None
    paths: PathsConfig = field(default_factory=PathsConfig)
    grid: dict[str, Any] = field(default_factory=dict)
    """What a bare ``-m`` sweeps, by key; the number of runs is the product of the numbers of values."""


ALLOWED: dict[str, tuple[str, ...]] = {
    "select": ("holdout", "paper"),
    "checkpoint": ("last", "best"),
    "progress": ("auto", "bar", "lines", "off"),
    "data.mean": ("channel", "pixel"),
    "data.std": ("channel", "none"),
    "data.augment": ("none", "crop_flip", "affine", "affine_text"),
    "train.momentum_form": ("average", "accumulate"),
    "train.schedule": ("constant", "exponential", "cosine"),
    "train.precision": ("32", "bf16-mixed", "64"),
    "train.engine": ("auto", "autograd", "passes"),
    "train.device": ("auto", "cpu", "gpu"),
}
"""The keys that take one of a few words."""


UNLISTED = (
    *("data.holdout", "data.mean", "data.std", "model.init", "model.pool", "model.filters"),
    *("train.momentum_form", "train.schedule", "train.gamma"),
)
"""Switches that have no column of their own in ``runs.csv``."""

METHODS = Path(__file__).parents[2] / "conf" / "method"
"""Where the methods' files lie."""


def register() -> None:
    """Tell Hydra the types: ``conf/config.yaml`` starts from the schema ``run``."""
    ConfigStore.instance().store(name="run", node=RunConfig)


def check(cfg: DictConfig) -> None:
    """Refuse a configuration that cannot be run, before any work starts.

    Raises:
        ConfigError: naming the key, its value and what is allowed.
    """
    if cfg.method is None:
        names = ", ".join(sorted(path.stem for path in METHODS.glob("*.yaml")))
        raise ConfigError(f"no method was chosen: add +method=NAME, with one of {names}")
    for key, words in ALLOWED.items():
        value = OmegaConf.select(cfg, key)
        if value not in words:
            raise ConfigError(f"{key}={value} is not one of {', '.join(words)}")
    if cfg.train.batch_size < 1:
        raise ConfigError(f"train.batch_size={cfg.train.batch_size} must be at least 1")
    if cfg.train.device == "gpu" and not torch.cuda.is_available():
        raise ConfigError("train.device=gpu, but PyTorch sees no GPU here; leave it at auto")
    if cfg.seed < 0:
        raise ConfigError(f"seed={cfg.seed} must not be negative")
    recipe(cfg)


def recipe(cfg: DictConfig) -> Recipe:
    """Give the optimiser's part of a configuration.

    Returns:
        The recipe.

    Raises:
        ConfigError: for values that cannot train.
    """
    t = cfg.train
    return Recipe(t.lr, t.momentum, t.momentum_form, t.schedule, t.gamma, t.epochs)


def method_class(cfg: DictConfig) -> type[RegularizedModule]:
    """Import the class that the method's ``_target_`` names.

    Returns:
        The class.

    Raises:
        ConfigError: if there is no such class, or it is not a RegularizedModule.
    """
    target = cfg.method.get("_target_")
    try:
        found = get_class(str(target))
    except (ImportError, ValueError, HydraException) as error:
        raise ConfigError(f"method._target_={target} cannot be imported: {error}") from error
    if not issubclass(found, RegularizedModule):
        raise ConfigError(f"method._target_={target} is not a jacexp.methods.RegularizedModule")
    return found


def hyperparameters(cfg: DictConfig) -> dict[str, Any]:
    """Convert a method's hyper-parameters to the types that its constructor's signature declares.

    Returns:
        Every keyword argument of the constructor by name.

    Raises:
        ConfigError: for one that it does not have, that has another type, or that has no value.
    """
    cls = method_class(cfg)
    schema = OmegaConf.structured(_signature_schema(cls))  # type: ignore[arg-type]  # a class is hashable
    given = {k: v for k, v in cfg.method.items() if k not in ("_target_", "name")}
    try:
        typed = OmegaConf.to_container(OmegaConf.merge(schema, given), throw_on_missing=True)
    except OmegaConfBaseException as error:
        reason = str(error).splitlines()[0]
        known = ", ".join(f"method.{name}" for name in schema) or "no hyper-parameter"
        raise ConfigError(f"{reason}; method {cfg.method.name} takes {known}") from error
    if not isinstance(typed, dict):
        raise ConfigError(f"the method's configuration is a {type(typed).__name__}, not a mapping")
    return {str(name): value for name, value in typed.items()}


@cache
def _signature_schema(cls: type[RegularizedModule]) -> type:
    """Make the dataclass of a constructor's keyword arguments, each of a type that OmegaConf knows."""
    parameters = inspect.signature(cls).parameters.values()
    fields = [
        (p.name, _plain(p.annotation), MISSING if p.default is p.empty else p.default)
        for p in parameters
        if p.kind is p.KEYWORD_ONLY
    ]
    return make_dataclass(cls.__name__, fields)


def _plain(annotation: Any) -> Any:
    """Widen ``Literal["a", "b"]`` to str, and so on: the constructor itself checks the values."""
    if get_origin(annotation) is not Literal:
        return annotation
    kinds = {type(value) for value in get_args(annotation)}
    kind = (kinds - {NoneType}).pop()
    return Union[kind, None] if NoneType in kinds else kind  # noqa: UP007  # a Union of run-time types


def science(cfg: DictConfig, data: Mapping[str, Any]) -> dict[str, Any]:
    """Give what determines a run's numbers, which its name is the hash of.

    Paths, loggers, progress, device and engine are left out; a data file is in by the hash of what it holds.

    Args:
        cfg: the configuration.
        data: the name, files and counts of the data set.

    Returns:
        What is left, ready for JSON.
    """
    resolved = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(resolved, dict)
    kept = {key: resolved[key] for key in ("method", "model", "data", "select", "checkpoint", "seed")}
    kept["train"] = {k: v for k, v in resolved["train"].items() if k not in ("engine", "device")}
    kept["dataset"] = dict(data)
    return kept


def changed_switches(cfg: DictConfig) -> dict[str, Any]:
    """Give the switches without a column in ``runs.csv`` that are not at the protocol's value, by key."""
    protocol = OmegaConf.load(METHODS.parent / "protocol" / f"{cfg.protocol.name}.yaml")
    assert isinstance(protocol, DictConfig)
    usual = OmegaConf.merge(RunConfig, {part: protocol.get(part, {}) for part in ("data", "model", "train")})
    pairs = {key: (OmegaConf.select(cfg, key), OmegaConf.select(usual, key)) for key in UNLISTED}
    return {
        key: OmegaConf.to_object(v) if OmegaConf.is_config(v) else v
        for key, (v, w) in pairs.items()
        if v != w
    }


def data_root(cfg: DictConfig) -> Path:
    """Give the folder of torchvision's data sets."""
    return Path(cfg.paths.data).expanduser()
