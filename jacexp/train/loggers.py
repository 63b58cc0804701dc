"""Lightning's loggers: what each run tells its own, whether it is trained alone or in a stack."""

import json
import os
import sys
import warnings
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from operator import attrgetter
from typing import Any

from omegaconf import DictConfig
from pytorch_lightning.loggers import CSVLogger, Logger

from jacexp.errors import ConfigError, first_line
from jacexp.store.runs import RunDirectory, write_json
from jacexp.targets import checked_arguments, imported, signature
from jacexp.train.config import ASIDE, as_dict

PACKAGES = {
    "TensorBoardLogger": ("tensorboard", "tensorboard"),
    "WandbLogger": ("wandb", "wandb"),
    "MLFlowLogger": ("mlflow", "mlflow-skinny"),
}
"""What Lightning's loggers import, and what installs it."""

KEPT = "logger.json"
"""The file in a run's directory with the name that a logger gave to the run, to go on with."""

PARTS = ("method", "dataset", "model", "data", "train")
SETTINGS = ("select", "checkpoint", "seed")


def check_logger(logger: Any) -> None:
    """Refuse a logger that cannot be made, before any work starts.

    Raises:
        ConfigError: if it is none, its package is missing, or its arguments do not fit.
    """
    if not isinstance(logger, DictConfig) or logger.get("_target_") is None:
        raise ConfigError(f"logger={logger} names no class; choose logger=csv, tensorboard, wandb or mlflow")
    found = imported(str(logger._target_), "logger._target_")
    if not (isinstance(found, type) and issubclass(found, Logger)):
        raise ConfigError(f"logger._target_={logger._target_} is no logger of Lightning's")
    module, package = PACKAGES.get(found.__name__, (None, None))
    if module and not find_spec(module):
        raise ConfigError(f"logger._target_={logger._target_} needs a package: pip install {package}")
    checked_arguments(found, _given(logger), key="logger", filled={"save_dir": ""})


def _given(logger: DictConfig) -> dict[str, Any]:
    return {k: v for k, v in as_dict(logger).items() if k != "_target_"}


class RunLog:
    """What one run tells its logger; nothing where it has none. A logger that fails ends no training."""

    def __init__(
        self,
        cfg: DictConfig,
        directory: RunDirectory,
        strength: str | None,
        rows: Sequence[Mapping[str, float]],
        *,
        is_on: bool = True,
    ) -> None:
        """Begin, or go on.

        Args:
            cfg: the run's configuration.
            directory: where its files lie.
            strength: the name of its method's.
            rows: of ``metrics.csv``, of the epochs that are done.
            is_on: False for a process that is not to log.

        Raises:
            ConfigError: if the logger cannot be made.
        """
        self.run, self.logger, self.parameters = directory.id, None, parameters(cfg, directory.id)
        if is_on and cfg.logger is not None:
            self.logger = _make(cfg, directory, _label(cfg, strength, directory.id))
            self._tell("log_hyperparams", self.parameters)
            # Lightning's CSV logger begins its file anew.
            for row in rows if isinstance(self.logger, CSVLogger) else ():
                self.epoch(row)

    def epoch(self, row: Mapping[str, float]) -> None:
        """Log an epoch: its row of ``metrics.csv``, with the share of right answers in the place of their number."""
        counts = ("epoch", "val_n", "val_n_correct")
        metrics = {name: value for name, value in row.items() if name not in counts}
        accuracy = {"val_accuracy": row["val_n_correct"] / row["val_n"]}
        self._tell("log_metrics", {**metrics, **accuracy}, step=int(row["epoch"]))
        self._tell("save")

    def end(self, measured: Mapping[str, Any]) -> None:
        """Log what was measured of the network at last; nothing for a run that diverged."""
        tested = {}
        if "test_loss" in measured:
            accuracy = measured["n_test_correct"] / measured["n_test"]
            tested = {"test_loss": measured["test_loss"], "test_accuracy": accuracy}
            self._tell("log_metrics", tested, step=int(measured["epoch"]))
        if self.logger and tested and "metrics" in signature(self.logger.log_hyperparams):
            self._tell("log_hyperparams", self.parameters, tested)  # TensorBoard compares runs by them
        self._tell("save")
        self._tell("finalize", "success" if tested else "failed")
        self.close()

    def close(self) -> None:
        """Log no more in this process; the run may be over, or go on in another."""
        experiment = getattr(self.logger, "experiment", None)
        if hasattr(experiment, "finish"):  # a run of W&B's, of which a process has one of a name at a time
            self._tell("experiment.finish")
        self.logger = None

    def _tell(self, what: str, *values: Any, **keywords: Any) -> None:
        if not self.logger:
            return
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # hints of libraries, such as that a folder is there already
                attrgetter(what)(self.logger)(*values, **keywords)
        except Exception as error:  # of any library, server or disk
            kind, self.logger = type(self.logger).__name__, None
            print(
                f"warning: {kind} of run {self.run} fails, the training goes on without: {first_line(error)}",
                file=sys.stderr,
            )


def parameters(cfg: DictConfig, run: str) -> dict[str, Any]:
    """Return a run's hyper-parameters by their keys in the configuration."""
    plain = as_dict(cfg)
    plain["train"] = {k: v for k, v in plain["train"].items() if k not in ASIDE}
    found = {"run": run, "protocol": cfg.protocol.name, **{k: plain[k] for k in SETTINGS}}
    return found | {k: v for part in PARTS for k, v in _flat(plain[part], part).items() if v is not None}


def _flat(values: Mapping[Any, Any], prefix: str) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}.{key}"
        flat |= _flat(value, name) if isinstance(value, dict) else {name: value}
    return flat


def _make(cfg: DictConfig, directory: RunDirectory, label: str) -> Logger:
    """Make a run's logger, which goes on with what it has of the run.

    Returns:
        The logger.

    Raises:
        ConfigError: if it cannot be made.
    """
    os.environ.setdefault("WANDB_SILENT", "true")
    os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # which MLflow itself would rather see migrated
    kept = directory / KEPT
    found = imported(str(cfg.logger._target_), "logger._target_")
    takes, given = signature(found), _given(cfg.logger)
    filled = {"save_dir": str(directory.path), "run_name": label}
    if "id" in takes:  # W&B: the same run in every process that goes on with it
        filled |= {"id": directory.id, "name": label}
    try:
        if "run_id" in takes and kept.exists():
            filled["run_id"] = json.loads(kept.read_bytes())["run_id"]
        logger: Logger = found(**{k: v for k, v in filled.items() if k in takes} | given)
        if "run_id" in takes:
            write_json(kept, {"run_id": logger.version})
        return logger
    except Exception as error:  # of any library or server
        hint = f"; delete {kept} to begin a new run of the logger's" if kept.exists() else ""
        raise ConfigError(
            f"logger={cfg.logger._target_} cannot be made: {first_line(error)}{hint}"
        ) from error


def _label(cfg: DictConfig, strength: str | None, run: str) -> str:
    """Name a run as a person would: data set, method with its strength, seed, and its directory."""
    method = f"{cfg.method.name} {strength}={cfg.method[strength]:g}" if strength else cfg.method.name
    return f"{cfg.dataset.name} {method} seed={cfg.seed} {run}"
