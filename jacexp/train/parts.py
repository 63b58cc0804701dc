"""What the parts of a configuration stand for: its method, network, data set and optimiser, and its name."""

from collections.abc import Collection, Mapping
from functools import cache
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from jacexp.data.load import NAMES
from jacexp.errors import ConfigError
from jacexp.methods.base import RegularizedModule
from jacexp.methods.optim import Recipe
from jacexp.models.architectures import ARCHITECTURES
from jacexp.models.own import RESERVED, check_network
from jacexp.targets import checked_arguments, imported
from jacexp.train.config import METHODS


def recipe(cfg: DictConfig) -> Recipe:
    """Read the optimiser's part of a configuration.

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
        ConfigError: if there is no such class, it is not a RegularizedModule, or not the one of its name.
    """
    target = str(cfg.method.get("_target_"))
    found = imported(target, "method._target_")
    if not isinstance(found, type) or not issubclass(found, RegularizedModule):
        raise ConfigError(f"method._target_={target} is not a jacexp.methods.RegularizedModule")
    name = str(cfg.method.get("name"))
    if (usual := _target_of(name)) and not issubclass(found, imported(usual, "method._target_")):
        raise ConfigError(
            f"method.name={name} is that of {usual}, not of {target}: set method.name to another"
        )
    return found


@cache
def _target_of(name: str) -> str | None:
    """Return the class of a method of the project's, None for any other name."""
    path = METHODS / f"{name}.yaml"
    return str(OmegaConf.load(path).method["_target_"]) if path.is_file() else None


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
    return {"name": _own_name(cfg.model, ARCHITECTURES, "model"), **check_network(target, given)}


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
    return {
        "name": _own_name(cfg.dataset, NAMES, "dataset"),
        **checked_arguments(found, given, key="dataset"),
    }


def own_arguments(cfg: DictConfig) -> dict[str, Any]:
    """Return the arguments of a user's own network and data set, by their keys in the configuration."""
    parts = {"model": own_network(cfg), "dataset": own_data(cfg)}
    return {f"{part}.{k}": v for part, own in parts.items() for k, v in own.items() if k != "name"}


def _own(part: DictConfig, reserved: Collection[str]) -> tuple[str | None, dict[str, Any]]:
    """Read a ``_target_`` and the keys beside it that are arguments."""
    if part.get("_target_") is None:
        return None, {}
    given = {str(key): part[key] for key in part if key not in (*reserved, "_target_")}
    plain = OmegaConf.to_container(OmegaConf.create(given), resolve=True)
    assert isinstance(plain, dict)
    return str(part._target_), {str(key): value for key, value in plain.items()}


def _own_name(part: DictConfig, taken: Collection[str], key: str) -> str:
    """Return the name that was given, or that of the class or function where that would be the project's."""
    is_open = OmegaConf.is_missing(part, "name") or OmegaConf.is_interpolation(part, "name")
    name = str(part._target_).rpartition(".")[2] if is_open or part.name in taken else str(part.name)
    if name.lower() in taken:  # tables of the papers would count its runs as theirs
        raise ConfigError(
            f"{key}._target_={part._target_} would be reported as {name}: set {key}.name to another"
        )
    if not name.strip() or set(name) & set("/,"):
        raise ConfigError(f"{key}.name='{name}': choose a name without slashes and commas")
    return name


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
    """Return what determines a run's numbers, which its name is the hash of.

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
