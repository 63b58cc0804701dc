"""A job: a configuration that was found fit to run, with its data and its network."""

from dataclasses import dataclass
from pathlib import Path

import torch
from omegaconf import DictConfig, OmegaConf

from jacexp.data import AUGMENTS, Loader, Split, load, split
from jacexp.errors import ConfigError
from jacexp.methods import RegularizedModule
from jacexp.models import build
from jacexp.store import RunDirectory, run_id
from jacexp.train.config import check, data_root, hyperparameters, method_class, recipe, science

EVALUATION_BATCH = 1000
"""Images in a batch of validation and test; it changes no number but the last digits of a loss."""


@dataclass(frozen=True)
class Job:
    """A configuration that was found fit to run, with its data, its network and method, and its directory."""

    cfg: DictConfig
    data: Split
    module: RegularizedModule
    directory: RunDirectory


def prepare(cfg: DictConfig) -> Job:
    """Check a configuration, load its data and build its network; nothing is written.

    Returns:
        What can be run.

    Raises:
        ConfigError: if it cannot be run.
        DataError: if its data set is missing or damaged.
    """
    check(cfg)
    path = Path(cfg.dataset.path).expanduser() if cfg.dataset.path else None
    images = load(cfg.dataset.name, root=data_root(cfg), path=path)
    data = split(images, seed=cfg.seed, subset=cfg.data.subset, select=cfg.select, holdout=cfg.data.holdout)
    if cfg.train.batch_size > len(data.x_train):
        raise ConfigError(
            f"train.batch_size={cfg.train.batch_size} exceeds the {len(data.x_train)} training images"
        )
    # With every switch in its declared type, equal settings are written in one way and so have one name.
    typed = OmegaConf.merge(cfg, {"method": hyperparameters(cfg)})
    assert isinstance(typed, DictConfig)
    directory = RunDirectory(Path(cfg.paths.results) / "runs" / run_id(science(typed, data.source)))
    module = make_module(typed, data)
    tangents = module.tangents(data.in_shape, torch.device("cpu"))  # refuses what it cannot make
    if tangents and module.precompute and cfg.data.augment != "none":
        raise ConfigError(
            f"data.augment={cfg.data.augment}: tangents that were computed once do not follow augmented images; "
            "set method.precompute=false to compute them for each batch"
        )
    return Job(typed, data, module, directory)


def make_module(cfg: DictConfig, data: Split) -> RegularizedModule:
    """Build a network with its initial weights and the method that trains it.

    Returns:
        The method, with the network inside.

    Raises:
        ConfigError: if the network does not fit the images, or a hyper-parameter is impossible.
    """
    mean, std = data.mean_std(cfg.data.mean, cfg.data.std)
    net = build(
        cfg.model.name,
        in_shape=data.in_shape,
        n_classes=data.n_classes,
        mean=mean,
        std=std,
        seed=cfg.seed,
        init=cfg.model.init,
        pool=cfg.model.pool,
        filters=cfg.model.filters,
    )
    settings = {"recipe": recipe(cfg), "seed": cfg.seed, "engine": cfg.train.engine}
    return method_class(cfg)(net, **hyperparameters(cfg), **settings)


def loaders(job: Job, device: torch.device) -> tuple[Loader, Loader, Loader]:
    """Put a job's images on the device: training (with tangents, if the method needs them), validation, test."""
    cfg, data, module = job.cfg, job.data, job.module
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
