"""One gate for every source of images: what passes it is a well-formed ImageSet."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jacexp.data.spec import ImageSet
from jacexp.errors import DataError

Array = NDArray[Any]
KEYS = ("x_train", "y_train", "x_test", "y_test")


def image_set(name: str, arrays: dict[str, Array], source: dict[str, Any], where: str) -> ImageSet:
    """Check raw arrays and bring them into the layout that the networks read.

    Args:
        name: the name under which results are reported.
        arrays: ``x_train`` and ``x_test``, (N, H, W) or (N, H, W, C) uint8 with C = 1 or 3, and their integer
            classes ``y_train`` and ``y_test``, (N,).
        source: provenance; the counts are added to it.
        where: the file or folder that an error names.

    Returns:
        The set, its images as (N, C, H, W).

    Raises:
        DataError: if shapes, dtypes, counts or classes are not as above.
    """
    x_train, x_test = (_images(arrays[key], f"{where}: {key}") for key in ("x_train", "x_test"))
    if x_train.shape[1:] != x_test.shape[1:]:
        raise DataError(
            f"{where}: an image of x_train is {_size(x_train)} and one of x_test is {_size(x_test)}; "
            "make them the same size"
        )
    y_train = _classes(arrays["y_train"], len(x_train), f"{where}: y_train")
    n_classes = _count_classes(y_train, where)
    y_test = _classes(arrays["y_test"], len(x_test), f"{where}: y_test", n_classes)
    counts = {"n_train": len(x_train), "n_test": len(x_test), "n_classes": n_classes}
    return ImageSet(name, x_train, y_train, x_test, y_test, n_classes, {**source, **counts})


def _size(x: Tensor) -> str:
    return "x".join(str(length) for length in x.shape[1:])


def _images(array: Array, what: str) -> Tensor:
    if array.dtype != np.uint8:
        raise DataError(f"{what} is {array.dtype}; store pixels as uint8, 0 to 255")
    if array.ndim == 3:
        array = array[..., None]
    if array.ndim != 4 or array.shape[3] not in (1, 3):
        raise DataError(f"{what} has shape {array.shape}; make it (N, H, W) or (N, H, W, C) with C = 1 or 3")
    if array.size == 0:
        raise DataError(f"{what} has shape {array.shape}: there is no image in it")
    return torch.from_numpy(np.array(array.transpose(0, 3, 1, 2), order="C"))


def _classes(array: Array, n: int, what: str, n_classes: int | None = None) -> Tensor:
    if not np.issubdtype(array.dtype, np.integer):
        raise DataError(f"{what} is {array.dtype}; store classes as integers 0 … C-1")
    if array.shape != (n,):
        raise DataError(f"{what} has shape {array.shape}; {n} images need shape ({n},)")
    highest = (n_classes or n) - 1  # without a count: each class has an image, so there are at most n
    if array.min() < 0 or array.max() > highest:
        allowed = f"y_train has 0 … {highest}" if n_classes else "number the classes 0 … C-1"
        raise DataError(f"{what} has classes from {array.min()} to {array.max()}; {allowed}")
    return torch.from_numpy(array.astype(np.int64))


def _count_classes(y_train: Tensor, where: str) -> int:
    n_images = y_train.bincount()
    if len(n_images) < 2:
        raise DataError(f"{where}: y_train has one class only; a classifier needs two or more")
    if not n_images.all():
        missing = int((n_images == 0).nonzero()[0])
        raise DataError(f"{where}: y_train has no image of class {missing}; number the classes 0 … C-1")
    return len(n_images)
