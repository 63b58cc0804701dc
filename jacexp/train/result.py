"""What every run writes, however it is trained: its configuration at the start; network, row and result at the end."""

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from omegaconf import OmegaConf

from jacexp.data.loader import Loader
from jacexp.errors import StoreError
from jacexp.store.checkpoint import load_network, save_network
from jacexp.store.merge import merge_runs
from jacexp.store.provenance import provenance
from jacexp.store.runs import write_atomically, write_json
from jacexp.train.config import as_dict, changed_switches, unread
from jacexp.train.job import Job, hyperparameters, method_class
from jacexp.train.parts import data_set, own_arguments
from jacexp.train.sources import keep_sources
from jacexp.train.validation import best_row, evaluate


@contextmanager
def writing(what: str) -> Iterator[None]:
    """Turn a disk that is full, or a file that cannot be written, into one clear error.

    Raises:
        StoreError: naming what could not be written.
    """
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"{what} cannot write its files ({error}); what is there is kept, so make room and start again"
        ) from error


def begin(job: Job) -> None:
    """Write the run's ``config.yaml``, interpolations replaced and without what only a sweep reads, and its sources."""
    resolved = as_dict(job.cfg)
    del resolved["grid"]
    resolved["protocol"] = {key: resolved["protocol"][key] for key in ("name", "paper")}
    write_atomically(job.directory / "config.yaml", OmegaConf.to_yaml(resolved))
    keep_sources(job.cfg, job.directory)


def describe(job: Job) -> dict[str, Any]:
    """Return the columns of ``runs.csv`` that are known before the training."""
    cfg, data = job.cfg, job.data
    hyper = method_class(cfg).named(hyperparameters(cfg))
    strengths = {name: hyper.pop(name, None) for name in ("lam", "beta", "epsilon")}
    device = "cuda" if cfg.train.device != "cpu" and torch.cuda.is_available() else "cpu"
    return {
        "run": job.directory.id,
        "dataset": data.name,
        "model": cfg.model.name,
        "method": cfg.method.name,
        "protocol": cfg.protocol.name,
        "select": cfg.select,
        "seed": cfg.seed,
        **strengths,
        "options": json.dumps({**hyper, **changed_switches(cfg), **own_arguments(cfg)}, sort_keys=True),
        "lr": cfg.train.lr,
        "momentum": None if "momentum" in unread(cfg.train) else cfg.train.momentum,
        "batch_size": cfg.train.batch_size,
        "n_epochs": cfg.train.epochs,
        "subset": cfg.data.subset,
        "augment": cfg.data.augment,
        "precision": cfg.train.precision,
        "checkpoint": cfg.checkpoint,
        "n_train": len(data.x_train),
        "data": json.dumps(data.source, sort_keys=True),
        **provenance(device),
    }


def measure(job: Job, test: Loader) -> dict[str, Any]:
    """Save a trained network and return the columns of ``runs.csv`` that its training and its test images tell.

    Args:
        job: the run; its network is at the end of its training.
        test: the test images, where the network is.

    Returns:
        The columns of the epoch that is tested, the last or the best.
    """
    save_network(job.directory, "last", job.module.net)
    rows = job.resume.rows
    validation = best_row(rows) if job.cfg.checkpoint == "best" else rows[-1]
    net = load_network(job.directory, job.cfg.checkpoint).to(test.device)
    tested = evaluate(net, test).counts()
    return {
        "epoch": validation["epoch"],
        "n_val": validation["val_n"],
        "n_val_correct": validation["val_n_correct"],
        "val_loss": validation["val_loss"],
        "n_test": tested["n"],
        "n_test_correct": tested["n_correct"],
        "test_loss": tested["loss"],
        "train_s": round(job.resume.seconds, 3),
    }


def record(job: Job, row: Mapping[str, Any], how: Mapping[str, str]) -> dict[str, Any]:
    """Write ``result.json``, which ends the run, and with it the run's row of ``runs.csv``.

    Args:
        job: the run, which must be locked.
        row: the columns of ``runs.csv`` but for the status.
        how: ``status``, and ``error`` if there was one.

    Returns:
        The content of ``result.json``.
    """
    result = {**how, "row": {**row, "status": how["status"]}, "dataset": data_set(job.cfg)}
    write_json(job.directory / "result.json", result)
    merge_runs(job.directory.results, [job.directory])
    return result


def objective(result: Mapping[str, Any]) -> float:
    """Return what a sweeper minimises: the validation loss in nats, infinite for a run that diverged."""
    return result["row"]["val_loss"] if result["status"] == "done" else math.inf
