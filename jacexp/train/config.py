"""The typed configuration of a run: every key, its type, its default and what values it may take."""

from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, OmegaConf

from jacexp.store.folders import CONF, OWN

NETWORKS = {"spectral": "lenet", "ibp": "convnet_mnist", "own": "lenet"}
"""The networks of both papers for grey images."""


@dataclass
class DatasetConfig:
    """``dataset=``: which images; with a ``_target_``, the arguments of that function besides."""

    name: str = MISSING
    path: str | None = None
    """An .npz file to read the set from, instead of torchvision's files; ``dataset=npz`` needs it."""
    networks: dict[str, str] = field(default_factory=lambda: dict(NETWORKS))
    """The network that each protocol's paper uses for such images, by the protocol's ``paper``."""
    subset: int | None = 10_000
    """How many images ``protocol=ibp`` draws from it for a run."""


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
    """``model=``: which network; with a ``_target_``, the arguments of that class besides."""

    name: str = "${dataset.networks.${protocol.paper}}"
    init: str | None = None
    pool: str = "floor"
    filters: list[int] | None = None


@dataclass
class TargetConfig:
    """A class by its import path, ``_target_``; the keys beside it are its arguments."""

    _target_: str | None = None


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
    step_epochs: int = 10
    """Epochs between two drops of the learning rate by ``gamma``, with ``schedule=step``."""
    warmup_epochs: int = 0
    """Epochs in which the learning rate grows to ``lr``, before the schedule begins."""
    optimizer: TargetConfig = field(default_factory=TargetConfig)
    """In the place of SGD; it reads neither ``momentum`` nor ``momentum_form``."""
    scheduler: TargetConfig = field(default_factory=TargetConfig)
    """In the place of ``schedule``; it does not read ``gamma``."""
    precision: str = "32"
    engine: str = "auto"
    device: str = "auto"
    devices: int = 1
    """Processes that train the one network together, a GPU or a part of the CPU's cores each. ``batch_size`` stays the
    joined batch's, and the run its name and, but for rounding, its numbers. Only batch norm differs in training mode:
    each process normalises its own rows, and the running statistics are the first one's."""


@dataclass
class ProtocolConfig:
    """``protocol=``: whose rules, and the grids of the strengths that a bare ``-m`` sweeps."""

    name: str = MISSING
    paper: str = MISSING
    """Whose network a data set's ``networks`` names."""
    authors: str | None = None
    """Of the paper whose protocol it is; None for one that is no paper's."""
    datasets: list[str] = field(default_factory=list)
    """The data sets that this paper trains on."""
    lam: str = MISSING
    beta: str = MISSING
    epsilon: str = MISSING


@dataclass
class PathsConfig:
    """``paths.``: where data lie and results go."""

    data: str = "${oc.env:JACEXP_DATA,data}"
    results: str = str(OWN)


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
    callbacks: dict[str, Any] = field(default_factory=dict)
    """Lightning's or a user's own, by names of the user's: ``_target_`` and arguments."""
    paths: PathsConfig = field(default_factory=PathsConfig)
    grid: dict[str, Any] | None = field(default_factory=dict)
    """What a bare ``-m`` sweeps, by key; the number of runs is the product of the numbers of values. None: nothing."""


ASIDE = ("engine", "device", "devices")
"""Keys of ``train`` that change how numbers are computed, not which: they may change when a run goes on."""

LISTED = (
    *("data.subset", "data.augment", "model.name", "train.epochs", "train.batch_size", "train.lr"),
    *("train.momentum", "train.precision"),
)
"""The keys with a column of their own in ``runs.csv``."""

UNLISTED = tuple(
    key
    for part, kind in (("data", DataConfig), ("model", ModelConfig), ("train", TrainConfig))
    for name in (f.name for f in fields(kind))
    if (key := f"{part}.{name}") not in LISTED and name not in (*ASIDE, "optimizer", "scheduler")
)
"""The switches without one, which tables tell runs apart by all the same: each is in the column ``options``."""

METHODS = CONF / "method"
"""Where the methods' files lie."""


OPEN = ("model", "dataset", "train.optimizer", "train.scheduler")
"""The parts that a ``_target_`` opens to the arguments of a class or function of a user's own."""


def register() -> None:
    """Register the types with Hydra: ``conf/config.yaml`` starts from the schema ``run``."""
    schema = OmegaConf.structured(RunConfig)
    for part in (*OPEN, "callbacks"):
        OmegaConf.set_struct(OmegaConf.select(schema, part), False)
    ConfigStore.instance().store(name="run", node=schema)


def as_dict(cfg: DictConfig) -> dict[str, Any]:
    """Return a part of a configuration as plain values by key, with every interpolation replaced."""
    plain = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


REPLACED = {
    "optimizer": ("momentum", "momentum_form"),
    "scheduler": ("schedule", "gamma", "step_epochs"),
}
"""The keys of ``train`` that a class which is chosen for a part of it takes the place of, by the part."""


def unread(train: DictConfig) -> set[str]:
    """Return the keys of a part ``train`` that nothing reads beside its others; no number depends on them."""
    keys = {"warmup_epochs"} if not train.warmup_epochs else set()
    for part, replaced in REPLACED.items():
        keys |= {part} if train[part].get("_target_") is None else set(replaced)
    return keys if train.schedule == "step" else keys | {"step_epochs"}


@cache
def protocol_file(name: str) -> DictConfig:
    """Read the project's file of a protocol; one that it does not have, of the user's own, is empty."""
    path = METHODS.parent / "protocol" / f"{name}.yaml"
    protocol = OmegaConf.load(path) if path.exists() else OmegaConf.create()
    assert isinstance(protocol, DictConfig)
    return protocol


def changed_switches(cfg: DictConfig) -> dict[str, Any]:
    """Return the switches without a column in ``runs.csv`` that are not at the protocol's value, by key.

    A protocol that the project does not have, of the user's own, has the values of `RunConfig`.
    """
    protocol = protocol_file(cfg.protocol.name)
    usual = OmegaConf.merge(RunConfig, {part: protocol.get(part, {}) for part in ("data", "model", "train")})
    listed = [key for key in UNLISTED if key not in {f"train.{name}" for name in unread(cfg.train)}]
    pairs = {key: (OmegaConf.select(cfg, key), OmegaConf.select(usual, key)) for key in listed}
    return {
        key: OmegaConf.to_object(v) if OmegaConf.is_config(v) else v
        for key, (v, w) in pairs.items()
        if v != w
    }


def data_root(cfg: DictConfig) -> Path:
    """Return the folder of torchvision's data sets."""
    return Path(cfg.paths.data).expanduser()
