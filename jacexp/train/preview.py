"""What is about to be trained, in one line."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig

from jacexp.train.job import Job, method_class

LINE = (
    "{runs}{method} on {dataset} ({n_train} training, {n_val} validation, {n_test} test images): {model}, "
    "protocol {protocol}, epochs {epochs}, batch size {batch_size}, SGD with lr {lr} ({schedule}) and momentum "
    "{momentum} ({momentum_form}), seed {seed}, engine {engine}, {device}; files in {folder}"
)

LISTED = 4
"""How many values of what varies in a sweep are written out."""


def preview(jobs: Sequence[Job], folder: Path) -> str:
    """Describe runs in one line, with the values of what varies between them.

    A second line says whose protocol was chosen for a data set that is not that paper's own, for then the methods of
    the two papers train other networks with other budgets.

    Args:
        jobs: one run, or all of a sweep.
        folder: where their files go.

    Returns:
        The text.
    """
    facts = [_facts(job) for job in jobs]
    joined = {name: _joined([fact[name] for fact in facts]) for name in facts[0]}
    runs = f"{len(jobs)} runs of " if len(jobs) > 1 else ""
    lines = [LINE.format(**joined, runs=runs, folder=folder)]
    is_chosen = any(word.lstrip("+").startswith("protocol=") for word in sys.argv)
    foreign = [job.cfg for job in jobs if job.cfg.protocol.authors and _is_foreign(job.cfg)]
    if foreign and not is_chosen:
        cfg = foreign[0]
        lines.append(
            f"{cfg.method.name} trains by the protocol of {cfg.protocol.authors}, whose own data sets are "
            f"{', '.join(cfg.protocol.datasets)}; to compare methods under one protocol: protocol=own"
        )
    return "\n".join(lines)


def _is_foreign(cfg: DictConfig) -> bool:
    return cfg.dataset.name not in cfg.protocol.datasets


def _facts(job: Job) -> dict[str, Any]:
    cfg, train = job.cfg, job.cfg.train
    n_train, n_val, n_test = job.counts
    strength = method_class(cfg).strength
    on_gpu = train.device != "cpu" and torch.cuda.is_available()
    device = "GPU" if on_gpu else "CPU"
    return {
        "method": f"{cfg.method.name} {strength}={cfg.method[strength]:g}" if strength else cfg.method.name,
        "dataset": cfg.dataset.name,
        "n_train": n_train,
        "n_val": n_val,
        "n_test": n_test,
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
