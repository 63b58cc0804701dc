"""What is about to be trained, in one line."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig

from jacexp.methods.optimizers import weight_decay_of
from jacexp.train.config import unread
from jacexp.train.job import Job, method_class, recipe

LINE = (
    "{runs}{method} on {dataset} ({n_train} training, {n_val} validation, {n_test} test images): {model}, "
    "protocol {protocol}, epochs {epochs}, batch size {batch_size}, {optimizer} with lr {lr} ({schedule}){momentum}, "
    "seed {seed}, engine {engine}, {device}; files in {folder}"
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
    if by_sgd := [job.cfg.train for job in jobs if "momentum" not in unread(job.cfg.train)]:
        values, forms = (
            _joined([f"{t.momentum:g}" for t in by_sgd]),
            _joined([t.momentum_form for t in by_sgd]),
        )
        joined["momentum"] = f" and momentum {values} ({forms})"
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
        **{name: train[name] for name in ("epochs", "batch_size", "engine")},
        **_optimizer(cfg),
        "lr": f"{train.lr:g}",
        "momentum": "",
        "seed": cfg.seed,
        "device": device if train.devices == 1 else f"{train.devices} processes on the {device}",
    }


def _optimizer(cfg: DictConfig) -> dict[str, str]:
    """Describe the optimiser and the schedule."""
    found = recipe(cfg)
    schedule = str(found.scheduler or found.schedule)
    if found.warmup_epochs:
        schedule += f" after {found.warmup_epochs} epochs of warm-up"
    optimizer = f"{found.optimizer}{weight_decay_of(found.optimizer)}" if found.optimizer else "SGD"
    return {"optimizer": optimizer, "schedule": schedule}


def _joined(values: Sequence[Any]) -> str:
    """Join different values; of many, the first and the last."""
    different = list(dict.fromkeys(map(str, values)))
    if len(different) <= LISTED:
        return "|".join(different)
    return f"{different[0]}…{different[-1]} ({len(different)} values)"
