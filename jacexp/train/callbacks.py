"""Callbacks of Lightning's or of a user's own, by their import path: ``callbacks.NAME._target_=package.Class``."""

from typing import Any

from omegaconf import DictConfig
from pytorch_lightning.callbacks import Callback, Checkpoint, EarlyStopping

from jacexp.errors import ConfigError, first_line
from jacexp.methods.optimizers import is_plain
from jacexp.methods.sums import NAMES
from jacexp.targets import checked_arguments, imported
from jacexp.train.config import as_dict

MONITORED = (*(f"train_{name}" for name in NAMES), "val_loss", "val_accuracy", "val_n", "val_n_correct")
"""What callbacks are told of an epoch."""


def own_callbacks(cfg: DictConfig) -> dict[str, dict[str, Any]]:
    """Check the callbacks of a configuration, and complete their arguments by the defaults of their classes.

    Returns:
        Class and arguments by name.

    Raises:
        ConfigError: for what is no callback or saves checkpoints of its own, or arguments that do not fit.
    """
    return {name: _checked(part, f"callbacks.{name}") for name, part in as_dict(cfg.callbacks).items()}


def _checked(part: Any, key: str) -> dict[str, Any]:
    if not isinstance(part, dict) or not part.get("_target_"):
        raise ConfigError(f"{key}={part} names no class: write {key}._target_=package.Class")
    target = str(part["_target_"])
    found = imported(target, f"{key}._target_")
    if not (isinstance(found, type) and issubclass(found, Callback)):
        raise ConfigError(f"{key}._target_={target} is no pytorch_lightning.Callback")
    if issubclass(found, Checkpoint):
        raise ConfigError(
            f"{key}._target_={target}: jacexp keeps the checkpoints; choose checkpoint=last or best"
        )
    given = {str(k): v for k, v in part.items() if k != "_target_"}
    return {"_target_": target, **checked_arguments(found, given, key=key)}


def make_callbacks(cfg: DictConfig) -> dict[str, Callback]:
    """Make the callbacks of a run.

    Returns:
        The callbacks by name.

    Raises:
        ConfigError: if a class refuses its arguments, or stops early by a number that there is not.
    """
    return {name: _made(part, f"callbacks.{name}") for name, part in own_callbacks(cfg).items()}


def _made(part: dict[str, Any], key: str) -> Callback:
    arguments = dict(part)
    found = imported(arguments.pop("_target_"), key)
    try:
        callback: Callback = found(**arguments)
        is_kept = is_plain(callback.state_dict())
    except Exception as error:  # a class of a user's own may raise anything
        raise ConfigError(f"{key}._target_={part['_target_']} cannot be made: {first_line(error)}") from error
    if not is_kept:
        raise ConfigError(
            f"{key}: its state_dict has other things than tensors and numbers, so it cannot go on"
        )
    if isinstance(callback, EarlyStopping) and callback.monitor not in MONITORED:
        raise ConfigError(f"{key}.monitor={callback.monitor} is not one of {', '.join(MONITORED)}")
    return callback
