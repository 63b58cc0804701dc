"""A job: a configuration that was found fit to run, with its data and its network."""

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from jacexp.data.augment import AUGMENTS
from jacexp.data.load import load
from jacexp.data.loader import Loader
from jacexp.data.spec import ImageSet, Split
from jacexp.data.split import split, split_source
from jacexp.errors import ConfigError
from jacexp.methods.base import RegularizedModule
from jacexp.models.architectures import build
from jacexp.models.network import Network
from jacexp.models.own import try_out
from jacexp.store.runs import RunDirectory, run_id
from jacexp.train.config import data_root
from jacexp.train.keys import check, check_grid
from jacexp.train.parts import (
    data_set,
    hyperparameters,
    method_class,
    network,
    own_data,
    own_network,
    recipe,
    science,
)

EVALUATION_BATCH = 1000
"""Images in a batch of validation and test; it changes no number but the last digits of a loss."""


@dataclass(frozen=True)
class Job:
    """A configuration that was found fit to run, with its data, its network and method, and its directory."""

    cfg: DictConfig
    data: Split
    module: RegularizedModule
    directory: RunDirectory


@dataclass(frozen=True)
class Identity:
    """What is known of a run before its images are divided and its network is built."""

    cfg: DictConfig
    """With every switch in its declared type."""
    images: ImageSet
    n_train: int
    n_val: int
    directory: RunDirectory


def identify(cfg: DictConfig) -> Identity:
    """Check a configuration as far as that is quick, and name its run; nothing is written.

    Returns:
        The run's directory, its data set (read once a process) and its configuration.

    Raises:
        ConfigError: if it cannot be run.
        DataError: if its data set is missing or damaged.
    """
    check(cfg)
    recipe(cfg)  # refuses what cannot train
    own = {"method": hyperparameters(cfg), "model": own_network(cfg), "dataset": own_data(cfg)}
    check_grid(cfg, [f"{part}.{name}" for part, values in own.items() for name in values])
    images = _images(cfg)
    source = split_source(images, **_division(cfg))
    n_train, n_val = source["split"]["n_train"], source["split"]["n_val"]
    if cfg.train.batch_size > n_train:
        raise ConfigError(f"train.batch_size={cfg.train.batch_size} exceeds the {n_train} training images")
    if cfg.train.devices > n_val:
        raise ConfigError(f"train.devices={cfg.train.devices} exceeds the {n_val} images to validate on")
    # With every switch in its declared type, equal settings are written in one way and so have one name.
    typed = cfg.copy()
    OmegaConf.set_struct(typed, False)  # a constructor's default need not stand in the method's YAML
    typed.merge_with(own)
    directory = RunDirectory(Path(cfg.paths.results) / "runs" / run_id(science(typed, source)))
    return Identity(typed, images, n_train, n_val, directory)


def prepare(cfg: DictConfig) -> Job:
    """Check a configuration, load its data and build its network; nothing is written.

    Returns:
        What can be run.

    Raises:
        ConfigError: if it cannot be run.
        DataError: if its data set is missing or damaged.
    """
    run = identify(cfg)
    data = split(run.images, **_division(run.cfg))
    module = make_module(run.cfg, data)
    if "_target_" in run.cfg.model:
        try_out(module.net, data.in_shape, _smallest_batch(run))
    _check_tangents(run.cfg, module, data.in_shape)
    return Job(run.cfg, data, module, run.directory)


def rehearse(run: Identity) -> None:
    """Refuse what `prepare` would refuse when it builds the method, with one network for all runs of a shape.

    Raises:
        ConfigError: if the network does not fit the images, or a hyper-parameter is impossible.
    """
    net = stand_in(run)
    _check_tangents(run.cfg, make_method(run.cfg, net), tuple(run.images.x_train.shape[1:]))


def stand_in(run: Identity) -> Network:
    """Build a network like the run's, one for all runs with such a network and such data.

    Returns:
        The network, with other weights and no normalisation.

    Raises:
        ConfigError: if the network does not fit the data.
    """
    shape = tuple(run.images.x_train.shape[1:])
    return _stand_in(json.dumps(network(run.cfg)), shape, run.images.n_classes, _smallest_batch(run))


def _smallest_batch(run: Identity) -> int:
    """Return 1 if some batch of an epoch has one row only, which batch norm cannot train on, and 2 otherwise."""
    return min(2, run.n_train % run.cfg.train.batch_size or run.cfg.train.batch_size)


def _check_tangents(cfg: DictConfig, module: RegularizedModule, in_shape: tuple[int, ...]) -> None:
    tangents = module.tangents(in_shape, torch.device("cpu"))  # refuses what it cannot make
    if tangents and module.precompute and cfg.data.augment != "none":
        raise ConfigError(
            f"data.augment={cfg.data.augment}: tangents that were computed once do not follow augmented images; "
            "set method.precompute=false to compute them for each batch"
        )


def _images(cfg: DictConfig) -> ImageSet:
    """Load a configuration's data set, once a process as long as an .npz file stays as it is."""
    which = data_set(cfg)
    path = Path(which["path"]).expanduser() if which["path"] else None
    found = path.stat() if path and path.exists() else None
    stamp = found and (found.st_mtime_ns, found.st_size, found.st_ino)
    images = _load_once(json.dumps(which), data_root(cfg), stamp)
    if cfg.data.augment != "none" and images.x_train.ndim != 4:
        raise ConfigError(f"data.augment={cfg.data.augment} is for images, and {images.name} has vectors")
    return images


@lru_cache(maxsize=2)
def _load_once(which: str, root: Path, _stamp: tuple[int, ...] | None) -> ImageSet:
    return load(**json.loads(which), root=root)


def _division(cfg: DictConfig) -> dict[str, Any]:
    """What decides which images are trained on and which are held out."""
    return {"seed": cfg.seed, "subset": cfg.data.subset, "select": cfg.select, "holdout": cfg.data.holdout}


@lru_cache(maxsize=4)
def _stand_in(arguments: str, in_shape: tuple[int, ...], n_classes: int, smallest_batch: int) -> Network:
    which = json.loads(arguments)
    zero, one = torch.zeros(in_shape), torch.ones(in_shape)
    net = build(in_shape=in_shape, n_classes=n_classes, mean=zero, std=one, seed=0, **which)
    if "target" in which:
        try_out(net, in_shape, smallest_batch)
    return net


def make_module(cfg: DictConfig, data: Split) -> RegularizedModule:
    """Build a network with its initial weights and the method that trains it.

    Returns:
        The method, with the network inside.

    Raises:
        ConfigError: if the network does not fit the images, or a hyper-parameter is impossible.
    """
    mean, std = data.mean_std(cfg.data.mean, cfg.data.std)
    net = build(
        in_shape=data.in_shape,
        n_classes=data.n_classes,
        mean=mean,
        std=std,
        seed=cfg.seed,
        **network(cfg),
    )
    return make_method(cfg, net)


def make_method(cfg: DictConfig, net: Network) -> RegularizedModule:
    """Wrap a network in the method that trains it.

    Returns:
        The method, with the network inside.

    Raises:
        ConfigError: if a hyper-parameter is impossible.
    """
    train = {"engine": cfg.train.engine, "batch_size": cfg.train.batch_size}
    return method_class(cfg)(net, **hyperparameters(cfg), recipe=recipe(cfg), seed=cfg.seed, **train)


def loaders(job: Job, device: torch.device) -> tuple[Loader, Loader, Loader]:
    """Load a job's images onto the device: training (with tangents, if the method needs them), validation, test.

    Returns:
        The three; where several processes train, the validation images are this one's share.
    """
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
    x_val, y_val = module.share.rows(data.x_val), module.share.rows(data.y_val)
    val = Loader(x_val, y_val, batch_size=EVALUATION_BATCH, shuffle=False, device=device)
    test = Loader(data.x_test, data.y_test, batch_size=EVALUATION_BATCH, shuffle=False, device=device)
    return train, val, test
