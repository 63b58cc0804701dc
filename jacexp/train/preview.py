"""What is about to be trained, in one line."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from omegaconf import DictConfig

from jacexp.train.parts import method_class

LINE = (
    "{runs}{method} on {dataset} ({n_train} training, {n_val} validation, {n_test} test images): {model}, "
    "protocol {protocol}, epochs {epochs}, batch size {batch_size}, SGD with lr {lr} ({schedule}) and momentum "
    "{momentum} ({momentum_form}), seed {seed}, engine {engine}, {device}; files in {folder}"
)

LISTED = 4
"""How many values of what varies in a sweep are written out."""


class Planned(NamedTuple):
    """A run that is about to be trained: its configuration, and how many images it has for what."""

    cfg: DictConfig
    n_train: int
    n_val: int
    n_test: int


def preview(planned: Sequence[Planned], folder: Path) -> str:
    """Describe runs in one line, with the values of what varies between them.

    A second line says whose protocol was chosen for a data set that is not that paper's own, for then the methods of
    the two papers train other networks with other budgets.

    Args:
        planned: the runs, one or all of a sweep.
        folder: where their files go.

    Returns:
        The text.
    """
    facts = [_facts(run) for run in planned]
    joined = {name: _joined([fact[name] for fact in facts]) for name in facts[0]}
    runs = f"{len(planned)} runs of " if len(planned) > 1 else ""
    lines = [LINE.format(**joined, runs=runs, folder=folder)]
    is_chosen = any(word.lstrip("+").startswith("protocol=") for word in sys.argv)
    foreign = [cfg for cfg, *_ in planned if cfg.protocol.authors and _is_foreign(cfg)]
    if foreign and not is_chosen:
        cfg = foreign[0]
        lines.append(
            f"{cfg.method.name} trains by the protocol of {cfg.protocol.authors}, whose own data sets are "
            f"{', '.join(cfg.protocol.datasets)}; to compare methods under one protocol: protocol=own"
        )
    return "\n".join(lines)


def _is_foreign(cfg: DictConfig) -> bool:
    return cfg.dataset.name not in cfg.protocol.datasets


def _facts(run: Planned) -> dict[str, Any]:
    cfg, train = run.cfg, run.cfg.train
    strength = method_class(cfg).strength
    on_gpu = train.device != "cpu" and torch.cuda.is_available()
    device = "GPU" if on_gpu else "CPU"
    return {
        "method": f"{cfg.method.name} {strength}={cfg.method[strength]:g}" if strength else cfg.method.name,
        "dataset": cfg.dataset.name,
        "n_train": run.n_train,
        "n_val": run.n_val,
        "n_test": run.n_test,
        "model": cfg.model.name,
        "protocol": cfg.protocol.name,
        **{name: train[name] for name in ("epochs", "batch_size", "schedule", "momentum_form", "engine")},
        "lr": f"{train.lr:g}",
        "momentum": f"{train.momentum:g}",
        "seed": cfg.seed,
        "device": device if train.devices == 1 else f"{train.devices} processes on the {device}",
    }


def _joined(values: Sequence[Any]) -> str:
    """Join different values; of many, the first and the last."""
    different = list(dict.fromkeys(map(str, values)))
    if len(different) <= LISTED:
        return "|".join(different)
    return f"{different[0]}…{different[-1]} ({len(different)} values)"
