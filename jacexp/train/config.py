"""The typed configuration of a run: every key, its type, its default and what values it may take."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from jacexp.data.load import NAMES
from jacexp.errors import ConfigError
from jacexp.methods.base import RegularizedModule
from jacexp.methods.optim import Recipe
from jacexp.models.architectures import ARCHITECTURES
from jacexp.models.own import RESERVED, check_network
from jacexp.targets import checked_arguments, imported

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


UNLISTED = (
    "data.holdout",
    "data.mean",
    "data.std",
    "model.init",
    "model.pool",
    "model.filters",
    "train.momentum_form",
    "train.schedule",
    "train.gamma",
)
"""Switches that have no column of their own in ``runs.csv``."""

METHODS = Path(__file__).parents[2] / "conf" / "method"
"""Where the methods' files lie."""


OPEN = ("model", "dataset")
"""The parts that a ``_target_`` opens to the arguments of a class or function of a user's own."""


def register() -> None:
    """Tell Hydra the types: ``conf/config.yaml`` starts from the schema ``run``."""
    schema = OmegaConf.structured(RunConfig)
    for part in OPEN:
        OmegaConf.set_struct(schema[part], False)
    ConfigStore.instance().store(name="run", node=schema)


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
    target = str(cfg.method.get("_target_"))
    found = imported(target, "method._target_")
    if not isinstance(found, type) or not issubclass(found, RegularizedModule):
        raise ConfigError(f"method._target_={target} is not a jacexp.methods.RegularizedModule")
    return found


def hyperparameters(cfg: DictConfig) -> dict[str, Any]:
    """Convert a method's hyper-parameters to the types that its class declares, and complete them by its defaults.

    Returns:
        Every hyper-parameter by name.

    Raises:
        ConfigError: for one that is missing, unknown, or has a value that is not allowed.
    """
    try:
        given = OmegaConf.to_container(cfg.method, resolve=True)
    except OmegaConfBaseException as error:
        raise ConfigError(str(error).splitlines()[0]) from error
    assert isinstance(given, dict)
    return method_class(cfg).checked({str(k): v for k, v in given.items() if k not in ("_target_", "name")})


def own_network(cfg: DictConfig) -> dict[str, Any]:
    """Complete the part ``model`` for a network of a user's own: its name, and every argument of its class.

    Returns:
        What it holds beside ``init`` and ``_target_``; nothing for a network of the project's.

    Raises:
        ConfigError: if its class cannot be imported, or its arguments do not fit.
    """
    target, given = _own(cfg.model, RESERVED)
    if target is None:
        return {}
    return {"name": _own_name(cfg.model, ARCHITECTURES), **check_network(target, given)}


def own_data(cfg: DictConfig) -> dict[str, Any]:
    """Complete the part ``dataset`` for a data set of a user's own: its name, and every argument of its function.

    Returns:
        What it holds beside ``networks``, ``subset`` and ``_target_``; nothing for a set without a function.

    Raises:
        ConfigError: if the function cannot be imported, or its arguments do not fit.
    """
    target, given = _own(cfg.dataset, ("name", "networks", "subset"))
    if target is None:
        return {}
    if given["path"] is None:
        del given["path"]
    found = imported(target, "dataset._target_")
    return {"name": _own_name(cfg.dataset, NAMES), **checked_arguments(found, given, key="dataset")}


def _own(part: DictConfig, reserved: Collection[str]) -> tuple[str | None, dict[str, Any]]:
    """Read a ``_target_`` and the keys beside it that are arguments."""
    if part.get("_target_") is None:
        return None, {}
    given = {str(key): part[key] for key in part if key not in (*reserved, "_target_")}
    plain = OmegaConf.to_container(OmegaConf.create(given), resolve=True)
    assert isinstance(plain, dict)
    return str(part._target_), {str(key): value for key, value in plain.items()}


def _own_name(part: DictConfig, taken: Collection[str]) -> str:
    """Return the name that was given, or that of the class or function where that would be the project's."""
    is_open = OmegaConf.is_missing(part, "name") or OmegaConf.is_interpolation(part, "name")
    return str(part._target_).rpartition(".")[2] if is_open or part.name in taken else str(part.name)


def network(cfg: DictConfig) -> dict[str, Any]:
    """Return the arguments of `jacexp.models.build` that a run's typed configuration determines."""
    model = OmegaConf.to_container(cfg.model, resolve=True)
    assert isinstance(model, dict)
    own = {key: model[key] for key in RESERVED}
    if "_target_" not in model:
        return own
    arguments = {key: value for key, value in model.items() if key not in (*own, "_target_")}
    return {**own, "target": model["_target_"], "arguments": arguments}


def data_set(cfg: DictConfig) -> dict[str, Any]:
    """Return the arguments of `jacexp.data.load` that say which set it is; runs are evaluated on it again."""
    own = own_data(cfg)
    if not own:
        return {"name": cfg.dataset.name, "path": cfg.dataset.path}
    name = own.pop("name")
    return {"name": name, "path": None, "target": str(cfg.dataset._target_), "arguments": own}


def science(cfg: DictConfig, data: Mapping[str, Any]) -> dict[str, Any]:
    """Give what determines a run's numbers, which its name is the hash of.

    Paths, loggers, progress, device, devices and engine are left out; a data file is in by the hash of what it holds.

    Args:
        cfg: the configuration.
        data: the name, files and counts of the data set.

    Returns:
        What is left, ready for JSON.
    """
    resolved = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(resolved, dict)
    kept = {key: resolved[key] for key in ("method", "model", "data", "select", "checkpoint", "seed")}
    kept["method"] = method_class(cfg).named(kept["method"])
    kept["train"] = {k: v for k, v in resolved["train"].items() if k not in ("engine", "device", "devices")}
    kept["dataset"] = dict(data)
    return kept


def changed_switches(cfg: DictConfig) -> dict[str, Any]:
    """Return the switches without a column in ``runs.csv`` that are not at the protocol's value, by key.

    A protocol that the project does not have, of the user's own, has the values of `RunConfig`.
    """
    path = METHODS.parent / "protocol" / f"{cfg.protocol.name}.yaml"
    protocol = OmegaConf.load(path) if path.exists() else OmegaConf.create()
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
