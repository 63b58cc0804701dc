"""One run: from a configuration to a result on disk."""

import json
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from jacexp.data import Loader
from jacexp.errors import JacexpError, StoreError
from jacexp.methods import RegularizedModule
from jacexp.methods.base import Sums
from jacexp.models import Network
from jacexp.store import RunDirectory, load_network, provenance, save_network, write_atomically
from jacexp.train.config import changed_switches, hyperparameters
from jacexp.train.ending import record, settle
from jacexp.train.job import Job, identify, loaders, prepare
from jacexp.train.progress import say
from jacexp.train.recorder import Diverged, Recorder
from jacexp.train.stop import Stopped, stop_requested, stop_signals
from jacexp.train.trainer import make_trainer


def run(cfg: DictConfig) -> dict[str, Any]:
    """Train one network and record how it ended; do nothing for a run that is over.

    SIGTERM and Ctrl-C end it after the present step. A run that was stopped or killed goes on from its last
    checkpoint and ends, on the CPU, bit for bit where it would have. A loss that is no longer finite ends a run as
    ``diverged``, which is a result; any other error ends it as ``failed``, and starting it again tries once more.

    Returns:
        The content of ``result.json``.

    Raises:
        JacexpError: for a configuration, data set or folder that cannot be used; no result is written then.
        RunLockedError: if another process is training it.
        Stopped: if the program was asked to stop; the run is saved.
    """
    with stop_signals():
        if stop_requested():
            raise Stopped("no run was under way; the same command goes on")
        directory = identify(cfg).directory
        before = directory.over()
        if before is None:
            job = prepare(cfg)
            with directory.locked(), _writing(directory):
                settle(directory)
                before = directory.over()  # now that nobody else can end it
                if before is None:
                    result = _train_and_record(job)
                    say(f"run {directory.id}: {summary(result)}")
                directory.tidy()
        if before is None:
            return result
        say(f"run {directory.id} is over ({summary(before)}); nothing to do")
        return before


@contextmanager
def _writing(directory: RunDirectory) -> Iterator[None]:
    """Turn a disk that is full, or a file that cannot be written, into one clear error."""
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"run {directory.id} cannot write its files ({error}); what is there is kept, so make room and start again"
        ) from error


def _train_and_record(job: Job) -> dict[str, Any]:
    directory, row = job.directory, _describe(job)
    try:
        ending, measured = {"status": "done"}, _train(job)
    except Diverged as error:
        ending, measured = {"status": "diverged", "error": str(error)}, {"epoch": error.epoch}
    except (JacexpError, OSError):
        raise
    except Exception as error:
        _record(job, row, {"status": "failed", "error": traceback.format_exc()})
        reason = repr(error)
        if isinstance(error, torch.OutOfMemoryError):
            reason = f"out of memory ({error}); try a smaller train.batch_size or another train.device"
        raise JacexpError(f"run {directory.id} failed: {reason}; see {directory / 'result.json'}") from error
    return _record(job, {**row, **measured}, ending)


def _train(job: Job) -> dict[str, Any]:
    """Train from the start or from where an interrupted run stopped, and measure the columns of ``runs.csv``."""
    cfg, directory, module = job.cfg, job.directory, job.module
    write_atomically(directory / "config.yaml", _as_yaml(cfg))
    recorder = Recorder(directory, keep_best=cfg.checkpoint == "best")
    trainer = make_trainer(cfg, recorder)
    device = trainer.strategy.root_device
    train, val, test = loaders(job, device)
    trainer.fit(module, train, val, ckpt_path=recorder.resumable())
    save_network(directory / "last.ckpt", module.net)
    validation = recorder.best if cfg.checkpoint == "best" else recorder.rows[-1]
    tested = evaluate(load_network(directory, cfg.checkpoint).to(device), test)
    return {
        "epoch": validation["epoch"],
        "n_val": validation["val_n"],
        "n_val_correct": validation["val_n_correct"],
        "val_loss": validation["val_loss"],
        "n_test": tested["n"],
        "n_test_correct": tested["n_correct"],
        "test_loss": tested["loss"],
        "train_s": round(recorder.seconds, 3),
    }


def evaluate(net: Network, images: Loader) -> dict[str, float]:
    """Count the correct answers of a network on clean images and give its mean cross-entropy."""
    module = RegularizedModule(net)
    sums = Sums()
    with torch.inference_mode():
        for batch in images:
            sums.add(module.plain_terms(batch), batch.y)
    return sums.counts()


def summary(result: dict[str, Any]) -> str:
    """Say in a few words how a run ended."""
    row = result["row"]
    if result["status"] != "done":
        return str(result["status"])
    val, test = row["n_val_correct"] / row["n_val"], row["n_test_correct"] / row["n_test"]
    return (
        f"done: validation accuracy {val:.2%} of {row['n_val']}, test accuracy {test:.2%} of {row['n_test']}"
    )


def _record(job: Job, row: dict[str, Any], ending: dict[str, str]) -> dict[str, Any]:
    dataset = {"name": job.cfg.dataset.name, "path": job.cfg.dataset.path}
    result = {**ending, "row": {**row, "status": ending["status"]}, "dataset": dataset}
    record(job.directory, result)
    return result


def _describe(job: Job) -> dict[str, Any]:
    """Give the columns of ``runs.csv`` that are known before the training."""
    cfg, data = job.cfg, job.data
    hyper = hyperparameters(cfg)
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
        "options": json.dumps({**hyper, **changed_switches(cfg)}, sort_keys=True),
        "lr": cfg.train.lr,
        "momentum": cfg.train.momentum,
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


def _as_yaml(cfg: DictConfig) -> str:
    """Write a configuration with every interpolation replaced, and without the grids that only a sweep reads."""
    resolved = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(resolved, dict)
    del resolved["grid"], resolved["protocol"]["lam"]
    return OmegaConf.to_yaml(resolved)
