"""A job: a configuration that was found fit to run, with its method, its data and its network."""

import json
from dataclasses import dataclass, replace
from functools import cache, cached_property, lru_cache
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from jacexp.data.load import load
from jacexp.data.spec import ImageSet, Split
from jacexp.data.split import split, split_source
from jacexp.errors import ConfigError, DataError, first_line
from jacexp.methods.method import Method
from jacexp.methods.optim import Recipe
from jacexp.models.architectures import build
from jacexp.models.network import Network
from jacexp.models.own import try_out
from jacexp.store.runs import RunDirectory, run_id
from jacexp.targets import imported
from jacexp.train.callbacks import make_callbacks, own_callbacks
from jacexp.train.config import METHODS, as_dict, data_root
from jacexp.train.keys import check, check_grid
from jacexp.train.module import RegularizedModule
from jacexp.train.parts import data_set, network, own_data, own_network, own_training, science
from jacexp.train.resume import Resume


@dataclass(eq=False)
class Job:
    """A configuration that was found fit to run. Its data, its network and how far it is are made when first asked for.

    Without them it is small: a sweep holds as many as it has runs.
    """

    cfg: DictConfig
    """With every switch in its declared type."""
    directory: RunDirectory
    source: dict[str, Any]
    """Of its data: where they are from, and how many images are for what."""

    @cached_property
    def data(self) -> Split:
        """The images, divided."""
        data = split(_images(self.cfg), **_division(self.cfg))
        if data.source != self.source:
            raise DataError(f"the images of {data.name} changed while their runs were named; start again")
        return data

    @cached_property
    def module(self) -> RegularizedModule:
        """The method, with the network inside as it is before the training."""
        mean, std = self.data.mean_std(self.cfg.data.mean, self.cfg.data.std)
        net = build(
            in_shape=self.data.in_shape,
            n_classes=self.data.n_classes,
            mean=mean,
            std=std,
            seed=self.cfg.seed,
            **network(self.cfg),
        )
        return make_method(self.cfg, net)

    @cached_property
    def resume(self) -> Resume:
        """How far it has come; to be asked for once nobody else trains it."""
        return Resume.read(self.directory)

    def again(self) -> "Job":
        """Return the job with a new network, and with how far it has come by now."""
        job = replace(self)
        job.data = self.data
        return job

    @property
    def counts(self) -> tuple[int, int, int]:
        """How many images are for training, validation and test."""
        return self.source["split"]["n_train"], self.source["split"]["n_val"], self.source["n_test"]

    def prepare(self) -> "Job":
        """Divide the images and build the network.

        Returns:
            The job itself; nothing is written.

        Raises:
            ConfigError: if the network does not fit the images, or a hyper-parameter is impossible.
            DataError: if the data set is missing or damaged by now.
        """
        if "_target_" in self.cfg.model:
            try_out(self.module.net, self.data.in_shape, self._smallest_batch())
        _check_tangents(self.cfg, self.module, self.data.in_shape)
        _try_parts(self.cfg, self.module)
        return self

    def rehearse(self) -> None:
        """Refuse what `prepare` would refuse when it builds the method, with one network for all runs of a shape.

        Raises:
            ConfigError: if the network does not fit the images, or a hyper-parameter is impossible.
        """
        in_shape = tuple(_images(self.cfg).x_train.shape[1:])
        module = make_method(self.cfg, self.stand_in())
        _check_tangents(self.cfg, module, in_shape)
        _try_parts(self.cfg, module)

    def stand_in(self) -> Network:
        """Build a network like the run's, one for all runs with such a network and such data.

        Returns:
            The network, with other weights and no normalisation.

        Raises:
            ConfigError: if the network does not fit the data.
        """
        images = _images(self.cfg)
        shape = tuple(images.x_train.shape[1:])
        return _stand_in(json.dumps(network(self.cfg)), shape, images.n_classes, self._smallest_batch())

    def _smallest_batch(self) -> int:
        """Return 1 if some batch of an epoch has one row only, which batch norm cannot train on, and 2 otherwise."""
        size = self.cfg.train.batch_size
        return min(2, self.counts[0] % size or size)


def identify(cfg: DictConfig) -> Job:
    """Check a configuration as far as that is quick, and name its run; nothing is written.

    Returns:
        The job; its data set was read once a process, and no network was built.

    Raises:
        ConfigError: if it cannot be run.
        DataError: if its data set is missing or damaged.
    """
    check(cfg)
    recipe(cfg)  # refuses what cannot train
    own = {"method": hyperparameters(cfg), "model": own_network(cfg), "dataset": own_data(cfg)}
    training = {name: dict(choice.arguments) for name, choice in own_training(cfg).items()}
    known = own | {f"train.{part}": arguments for part, arguments in training.items()}
    check_grid(cfg, [f"{part}.{name}" for part, values in known.items() for name in values])
    source = split_source(_images(cfg), **_division(cfg))
    n_train, n_val = source["split"]["n_train"], source["split"]["n_val"]
    if cfg.train.batch_size > n_train:
        raise ConfigError(f"train.batch_size={cfg.train.batch_size} exceeds the {n_train} training images")
    if cfg.train.devices > n_val:
        raise ConfigError(f"train.devices={cfg.train.devices} exceeds the {n_val} images to validate on")
    # With every switch in its declared type, equal settings are written in one way and so have one name.
    typed = cfg.copy()
    OmegaConf.set_struct(typed, False)  # a constructor's default need not stand in the method's YAML
    typed.merge_with(own, {"train": training, "callbacks": own_callbacks(cfg)})
    path = Path(cfg.paths.results) / "runs" / run_id(science(typed, method_class(typed), source))
    return Job(typed, RunDirectory(path), source)


def recipe(cfg: DictConfig) -> Recipe:
    """Read the optimiser's part of a configuration.

    Returns:
        The recipe.

    Raises:
        ConfigError: for values that cannot train.
    """
    t = cfg.train
    numbers = {name: t[name] for name in ("step_epochs", "warmup_epochs")}
    choices: dict[str, Any] = own_training(cfg)
    return Recipe(t.lr, t.momentum, t.momentum_form, t.schedule, t.gamma, t.epochs, **numbers, **choices)


def method_class(cfg: DictConfig) -> type[Method]:
    """Import the class that the method's ``_target_`` names.

    Returns:
        The class.

    Raises:
        ConfigError: if there is no such class, it is not a Method, or not the one of its name.
    """
    target = str(cfg.method.get("_target_"))
    found = imported(target, "method._target_")
    if not isinstance(found, type) or not issubclass(found, Method):
        raise ConfigError(f"method._target_={target} is not a jacexp.methods.Method")
    name = str(cfg.method.get("name"))
    if (usual := _target_of(name)) and not issubclass(found, imported(usual, "method._target_")):
        raise ConfigError(
            f"method.name={name} is that of {usual}, not of {target}: set method.name to another"
        )
    return found


@cache
def _target_of(name: str) -> str | None:
    """Return the class of a method of the project's, None for any other name."""
    path = METHODS / f"{name}.yaml"
    return str(OmegaConf.load(path).method["_target_"]) if path.is_file() else None


def hyperparameters(cfg: DictConfig) -> dict[str, Any]:
    """Convert a method's hyper-parameters to the types that its class declares, and complete them by its defaults.

    Returns:
        Every hyper-parameter by name.

    Raises:
        ConfigError: for one that is missing, unknown, or has a value that is not allowed.
    """
    try:
        given = as_dict(cfg.method)
    except OmegaConfBaseException as error:
        raise ConfigError(first_line(error)) from error
    return method_class(cfg).checked(
        {k: v for k, v in given.items() if k not in ("_target_", "name")}, prefix="method."
    )


def make_method(cfg: DictConfig, net: Network) -> RegularizedModule:
    """Wrap a network in the method that trains it.

    Returns:
        Both, as a run trains them.

    Raises:
        ConfigError: if a hyper-parameter is impossible.
    """
    method = method_class(cfg)(**hyperparameters(cfg), engine=cfg.train.engine)
    return RegularizedModule(net, method, recipe=recipe(cfg), seed=cfg.seed, batch_size=cfg.train.batch_size)


def _try_parts(cfg: DictConfig, module: RegularizedModule) -> None:
    """Make and try what a user chose by its import path, so that what fails does so before any work."""
    module.recipe.try_out(module.net)
    make_callbacks(cfg)


def _check_tangents(cfg: DictConfig, module: RegularizedModule, in_shape: tuple[int, ...]) -> None:
    tangents = module.method.tangents(in_shape, torch.device("cpu"))  # refuses what it cannot make
    if tangents and getattr(module.method, "precompute", False) and cfg.data.augment != "none":
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
