"""One run: from a configuration to a result on disk."""

import json
import logging
import time
import traceback
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from jacexp.columns import RUNS
from jacexp.data import AUGMENTS, Loader, Split, load, split
from jacexp.errors import ConfigError, JacexpError
from jacexp.methods import RegularizedModule
from jacexp.methods.base import Sums
from jacexp.models import Network, build
from jacexp.store import (
    RunDirectory,
    append_rows,
    load_network,
    provenance,
    run_id,
    save_network,
    write_atomically,
    write_json,
)
from jacexp.train.config import check, data_root, hyperparameters, method_class, recipe, science
from jacexp.train.progress import progress_callbacks
from jacexp.train.recorder import Diverged, Recorder

EVALUATION_BATCH = 1000
"""Images in a batch of validation and test; it changes no number but the last digits of a loss."""


@dataclass(frozen=True)
class Job:
    """A configuration that was found fit to run: its data, its network's shape and its directory."""

    cfg: DictConfig
    data: Split
    directory: RunDirectory


def prepare(cfg: DictConfig) -> Job:
    """Check a configuration and load its data; nothing is written.

    Returns:
        What can be run.

    Raises:
        ConfigError: if it cannot be run.
        DataError: if its data set is missing or damaged.
    """
    check(cfg)
    hyper = hyperparameters(cfg)
    path = Path(cfg.dataset.path).expanduser() if cfg.dataset.path else None
    images = load(cfg.dataset.name, root=data_root(cfg), path=path)
    data = split(images, seed=cfg.seed, subset=cfg.data.subset, select=cfg.select, holdout=cfg.data.holdout)
    if cfg.train.batch_size > len(data.x_train):
        raise ConfigError(
            f"train.batch_size={cfg.train.batch_size} exceeds the {len(data.x_train)} training images"
        )
    typed = OmegaConf.merge(cfg, {"method": hyper})
    assert isinstance(typed, DictConfig)
    directory = RunDirectory(Path(cfg.paths.results) / "runs" / run_id(science(typed, data.source)))
    job = Job(typed, data, directory)
    make_module(job)  # the constructors check the values
    return job


def make_network(job: Job) -> Network:
    """Build the network of a job with its initial weights."""
    cfg = job.cfg
    mean, std = job.data.mean_std(cfg.data.mean, cfg.data.std)
    return build(
        cfg.model.name,
        in_shape=job.data.in_shape,
        n_classes=job.data.n_classes,
        mean=mean,
        std=std,
        seed=cfg.seed,
        init=cfg.model.init,
        pool=cfg.model.pool,
        filters=cfg.model.filters,
    )


def make_module(job: Job) -> RegularizedModule:
    """Build the network of a job and the method that trains it."""
    cfg = job.cfg
    settings = {"recipe": recipe(cfg), "seed": cfg.seed, "engine": cfg.train.engine}
    return method_class(cfg)(make_network(job), **hyperparameters(cfg), **settings)


def run(cfg: DictConfig) -> dict[str, Any]:
    """Train one network and record how it ended; do nothing for a run that is over.

    An interrupted run goes on from its last whole epoch and ends, on the CPU, bit for bit where it would have. A
    loss that is no longer finite ends a run as ``diverged``, which is a result; any other error ends it as
    ``failed``, and starting it again tries once more.

    Returns:
        The content of ``result.json``.

    Raises:
        JacexpError: for a configuration, data set or folder that cannot be used; no result is written then.
    """
    job = prepare(cfg)
    directory = job.directory
    with directory.locked():
        before = directory.result()
        if before and before["status"] != "failed":
            print(f"run {directory.id} is over ({summary(before)}); nothing to do")
            return before
        try:
            result = _train(job)
        except JacexpError:
            raise
        except Exception as error:
            _record(job, {"status": "failed", "error": traceback.format_exc()}, {})
            raise JacexpError(
                f"run {directory.id} failed: {error!r}; see {directory / 'result.json'}"
            ) from error
    print(f"run {directory.id}: {summary(result)}")
    return result


def _train(job: Job) -> dict[str, Any]:
    cfg, directory = job.cfg, job.directory
    module = make_module(job)
    write_atomically(directory / "config.yaml", _as_yaml(cfg))
    recorder = Recorder(directory, keep_best=cfg.checkpoint == "best")
    trainer = make_trainer(cfg, directory, recorder)
    device = trainer.strategy.root_device
    train, val, test = loaders(job, module, device)
    resume = directory / "resume.ckpt"
    started = time.perf_counter()
    try:
        trainer.fit(module, train, val, ckpt_path=resume if resume.exists() else None, weights_only=True)
    except Diverged as error:
        return _record(job, {"status": "diverged", "error": str(error)}, {"epoch": error.epoch})
    seconds = time.perf_counter() - started
    save_network(directory / "last.ckpt", module.net)
    validation = recorder.best if cfg.checkpoint == "best" else recorder.rows[-1]
    tested = evaluate(load_network(directory, cfg.checkpoint).to(device), test)
    measured = {
        "epoch": validation["epoch"],
        "n_val": validation["val_n"],
        "n_val_correct": validation["val_n_correct"],
        "val_loss": validation["val_loss"],
        "n_test": tested["n"],
        "n_test_correct": tested["n_correct"],
        "test_loss": tested["loss"],
        "train_s": round(seconds, 3),
    }
    result = _record(job, {"status": "done"}, measured)
    resume.unlink(missing_ok=True)
    return result


def make_trainer(cfg: DictConfig, directory: RunDirectory, recorder: Recorder) -> pl.Trainer:
    """Make Lightning's trainer for one run."""
    quiet_lightning()
    progress = progress_callbacks(cfg.progress)
    return pl.Trainer(
        max_epochs=cfg.train.epochs,
        accelerator=cfg.train.device,
        devices=1,
        precision={"32": "32-true", "64": "64-true"}.get(cfg.train.precision, cfg.train.precision),
        logger=instantiate(cfg.logger, save_dir=str(directory.path)) if cfg.logger else False,
        callbacks=[*progress, EpochOrder(), recorder],
        enable_checkpointing=True,
        enable_progress_bar=any(isinstance(c, pl.callbacks.ProgressBar) for c in progress),
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
    )


class EpochOrder(pl.Callback):
    """Tells the training images which epoch it is, for each has an order of its own."""

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002
        """Pass the epoch on; the loader draws its order at the first batch."""
        assert isinstance(trainer.train_dataloader, Loader)
        trainer.train_dataloader.set_epoch(trainer.current_epoch)


def quiet_lightning() -> None:
    """Silence Lightning's hints about loggers, loaders' workers and devices, none of which apply here."""
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="pytorch_lightning")


def loaders(job: Job, module: RegularizedModule, device: torch.device) -> tuple[Loader, Loader, Loader]:
    """Put a job's images on the device: training (with tangents, if the method needs them), validation, test."""
    cfg, data = job.cfg, job.data
    tangents = module.tangents(data.in_shape, device)
    train = Loader(
        data.x_train,
        data.y_train,
        batch_size=cfg.train.batch_size,
        seed=cfg.seed,
        device=device,
        augment=AUGMENTS[cfg.data.augment]() if cfg.data.augment != "none" else None,
        tangents=tangents.of_set(data.x_train) if tangents and module.precompute else tangents,
    )
    val = Loader(data.x_val, data.y_val, batch_size=EVALUATION_BATCH, shuffle=False, device=device)
    test = Loader(data.x_test, data.y_test, batch_size=EVALUATION_BATCH, shuffle=False, device=device)
    return train, val, test


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


def _record(job: Job, ending: dict[str, Any], measured: dict[str, Any]) -> dict[str, Any]:
    """Write the run's row to ``runs.csv`` and then, last of all, ``result.json``."""
    row = {**_describe(job), **measured, "status": ending["status"]}
    results = job.directory.path.parents[1]
    append_rows(results / "runs.csv", [row], RUNS)
    dataset = {"name": job.cfg.dataset.name, "path": job.cfg.dataset.path}
    result = {**ending, "row": row, "dataset": dataset}
    write_json(job.directory / "result.json", result)
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
        "options": json.dumps(hyper, sort_keys=True),
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
    resolved = OmegaConf.create(OmegaConf.to_container(cfg, resolve=True))
    resolved.protocol = {"name": cfg.protocol.name, "paper": cfg.protocol.paper}
    return OmegaConf.to_yaml(resolved)
