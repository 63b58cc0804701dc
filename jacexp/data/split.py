"""Subsets by seed, and what is held out for validation."""

from typing import Any

import torch
from torch import Tensor

from jacexp.data.spec import ImageSet, Split
from jacexp.errors import ConfigError
from jacexp.random import make_generator

WHOLE_SET_HOLDOUT = 0.1  # of a set that leaves no image outside its subset


def split(
    images: ImageSet,
    *,
    seed: int,
    subset: int | None = None,
    select: str = "holdout",
    holdout: float = 0.1,
    holdout_seed: int = 0,
) -> Split:
    """Divide a set into what is trained on, selected on and reported; the test images only pass through.

    Args:
        images: the set.
        seed: draws the subset, which is subset s of Demyanov et al. (5.1) for seed s. Those of one seed are
            nested: the first 1,000 images of its 2,000 are its 1,000.
        subset: number of training images, or None for all of them.
        select: ``holdout`` (validate on training images that are not trained on) or ``paper`` (train on all
            of the subset and validate on the test set, as both papers seem to do).
        holdout: how many images are held out: below 1 a fraction of the training set, else a number. Beside a
            subset they come from outside of it, as many as there are. With none outside they are taken out of
            the training images, the same for every ``seed``; where the subset is the whole set, a number
            (meant for images outside) then gives way to 10 %.
        holdout_seed: draws the images that are held out where there is none outside the subset.

    Returns:
        The split. ``source["split"]`` says in words what validation is.

    Raises:
        ConfigError: if the subset is larger than the set, if nothing is left to train or to validate on, or
            if an argument is outside its allowed values.
    """
    train, val, source = _rows(images, seed, subset, select, holdout, holdout_seed)
    x_val, y_val = images.x_test, images.y_test
    if val is not None:
        x_val, y_val = images.x_train[val], images.y_train[val]
    return Split(
        name=images.name,
        x_train=images.x_train[train],
        y_train=images.y_train[train],
        x_val=x_val,
        y_val=y_val,
        x_test=images.x_test,
        y_test=images.y_test,
        n_classes=images.n_classes,
        source=source,
        val_is_test=val is None,
    )


def split_source(
    images: ImageSet,
    *,
    seed: int,
    subset: int | None = None,
    select: str = "holdout",
    holdout: float = 0.1,
    holdout_seed: int = 0,
) -> dict[str, Any]:
    """Return the ``source`` of the split that `split` would make, without copying an image.

    Returns:
        Provenance of the set, and under ``split`` the counts and what validation is.

    Raises:
        ConfigError: as `split` does.
    """
    return _rows(images, seed, subset, select, holdout, holdout_seed)[2]


def _rows(
    images: ImageSet, seed: int, subset: int | None, select: str, holdout: float, holdout_seed: int
) -> tuple[Tensor, Tensor | None, dict[str, Any]]:
    """Rows to train on, rows to validate on (None: the test set), and the split's source."""
    n = len(images.x_train)
    if subset is not None and not 1 <= subset <= n:
        raise ConfigError(
            f"subset={subset} must lie between 1 and the {n} training images of {images.name}; "
            "set data.subset to fewer images, or to null for all of them"
        )
    if select not in ("holdout", "paper"):
        raise ConfigError(f"select={select} must be holdout or paper")
    drawn = torch.randperm(n, generator=make_generator(seed, "subset"))
    train, val, words = drawn[:subset], None, "the test set"
    if select == "holdout" and subset is not None and subset < n:
        val = drawn[subset:][: _number(holdout, n)]
        words = f"{len(val)} training images outside the subset"
    elif select == "holdout":
        train, val = _hold_out(n, WHOLE_SET_HOLDOUT if subset and holdout >= 1 else holdout, holdout_seed)
        words = f"{len(val)} of {n} training images, the same for every seed"

    n_val = len(images.x_test) if val is None else len(val)
    record = {"n_train": len(train), "n_val": n_val, "validation": words}
    return train, val, {**images.source, "split": record}


def _hold_out(n: int, holdout: float, seed: int) -> tuple[Tensor, Tensor]:
    """Rows of n images to train on, and rows held out."""
    n_val = _number(holdout, n)
    if n_val >= n:
        raise ConfigError(f"holdout={holdout} of {n} training images leaves none to train on; hold out fewer")
    drawn = torch.randperm(n, generator=make_generator(seed, "holdout"))
    return drawn[n_val:], drawn[:n_val]


def _number(holdout: float, n: int) -> int:
    """Number of images that ``holdout`` stands for."""
    if not holdout > 0 or (holdout >= 1 and not float(holdout).is_integer()):
        raise ConfigError(f"holdout={holdout} must be a fraction below 1 or a whole number of images")
    number = int(holdout) if holdout >= 1 else round(holdout * n)
    if number == 0:
        raise ConfigError(f"holdout={holdout} of {n} training images is no image at all; hold out more")
    return number
