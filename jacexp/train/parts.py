"""What the parts of a configuration stand for: its network and its data set, and what names the run."""

from collections.abc import Collection, Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf

from jacexp.data.load import NAMES
from jacexp.errors import ConfigError
from jacexp.methods.hyperparameters import Declared
from jacexp.methods.optimizers import OptimizerChoice, SchedulerChoice
from jacexp.models.architectures import ARCHITECTURES
from jacexp.models.own import RESERVED, check_network
from jacexp.targets import checked_arguments, imported
from jacexp.train.callbacks import own_callbacks
from jacexp.train.config import ASIDE, as_dict, unread


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


def own_training(cfg: DictConfig) -> dict[str, OptimizerChoice | SchedulerChoice]:
    """Complete the parts ``train.optimizer`` and ``train.scheduler`` by every argument of their classes.

    Returns:
        Those that are there, by the name of the part.

    Raises:
        ConfigError: if a class cannot be imported, or its arguments do not fit.
    """
    kinds: dict[str, type[OptimizerChoice] | type[SchedulerChoice]] = {
        "optimizer": OptimizerChoice,
        "scheduler": SchedulerChoice,
    }
    found: dict[str, OptimizerChoice | SchedulerChoice] = {}
    for name, kind in kinds.items():
        target, given = _own(cfg.train[name], ())
        if target is not None:
            found[name] = kind.checked(target, given)
    return found


def own_arguments(cfg: DictConfig) -> dict[str, Any]:
    """Return what was chosen by its import path, by key: of network and data the arguments, of the rest all."""
    parts = {"model": own_network(cfg), "dataset": own_data(cfg)}
    for name, choice in own_training(cfg).items():
        parts[f"train.{name}"] = {"_target_": choice.target, **choice.arguments}
    parts |= {f"callbacks.{name}": part for name, part in own_callbacks(cfg).items()}
    return {f"{part}.{k}": v for part, own in parts.items() for k, v in own.items() if k != "name"}


def _own(part: DictConfig, reserved: Collection[str]) -> tuple[str | None, dict[str, Any]]:
    """Read a ``_target_`` and the keys beside it that are arguments."""
    if part.get("_target_") is None:
        return None, {}
    given = {str(key): part[key] for key in part if key not in (*reserved, "_target_")}
    return str(part._target_), as_dict(OmegaConf.create(given))


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
    model = as_dict(cfg.model)
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


def science(cfg: DictConfig, method: type[Declared], data: Mapping[str, Any]) -> dict[str, Any]:
    """Return what determines a run's numbers, which its name is the hash of.

    Paths, loggers, progress, device, devices and engine are left out; a data file is in by the hash of what it holds.

    Args:
        cfg: the configuration.
        method: its method, which may name its hyper-parameters otherwise than they are called.
        data: the name, files and counts of the data set.

    Returns:
        What is left, ready for JSON.
    """
    resolved = as_dict(cfg)
    aside = {*ASIDE, *unread(cfg.train)}
    train = {k: v for k, v in resolved["train"].items() if k not in aside}
    kept = {key: resolved[key] for key in ("model", "data", "select", "checkpoint", "seed")}
    if cfg.callbacks:  # nobody knows whether they change numbers
        kept["callbacks"] = resolved["callbacks"]
    return {**kept, "method": method.named(resolved["method"]), "train": train, "dataset": dict(data)}
