"""One gate for every source of data: what passes it is a well-formed ImageSet."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jacexp.data.spec import ImageSet
from jacexp.errors import DataError

Array = NDArray[Any]
KEYS = ("x_train", "y_train", "x_test", "y_test")


def image_set(name: str, arrays: Mapping[str, Any], source: dict[str, Any], where: str) -> ImageSet:
    """Check raw arrays and bring them into the layout that the networks read.

    Args:
        name: the name under which results are reported.
        arrays: ``x_train`` and ``x_test``, images or vectors (N, D), and their integer classes ``y_train`` and
            ``y_test``, (N,). Values are uint8, or floats in [0, 1]. Images are (N, H, W), arrays (N, H, W, C) as NumPy
            lays them out, tensors (N, C, H, W) as PyTorch does.
        source: provenance; the counts are added to it.
        where: the file or folder that an error names.

    Returns:
        The set, its images as (N, C, H, W), its floats as float32.

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


def _images(values: Any, what: str) -> Tensor:
    array = _as_array(values, what)
    is_float = np.issubdtype(array.dtype, np.floating)
    if array.dtype != np.uint8 and not is_float:
        raise DataError(f"{what} is {array.dtype}; store pixels as uint8, 0 to 255, or as floats in [0, 1]")
    if array.ndim not in (2, 3, 4):
        raise DataError(
            f"{what} has shape {array.shape}; make it (N, H, W), (N, H, W, C), a tensor (N, C, H, W), or vectors (N, D)"
        )
    if array.size == 0:
        raise DataError(f"{what} has shape {array.shape}: there is no image in it")
    if array.ndim == 3:
        array = array[:, None]
    elif array.ndim == 4:
        array = _channels_first(array, what, is_tensor=isinstance(values, Tensor))
    if not is_float:
        return torch.from_numpy(np.array(array, order="C"))
    if not np.isfinite(array).all():
        raise DataError(f"{what} has values that are not finite (NaN or infinity); fill or drop them")
    if array.min() < 0 or array.max() > 1:
        raise DataError(
            f"{what} has values from {array.min():g} to {array.max():g}; floats must be in [0, 1], the unit of noise "
            "and attacks: scale them by the training set's minimum and maximum, and clip the test set's"
        )
    return torch.from_numpy(np.array(array, dtype=np.float32, order="C"))


def _as_array(values: Any, what: str) -> Array:
    try:
        return values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
    except (ValueError, TypeError) as error:
        raise DataError(
            f"{what} is no array: {error}; its rows must have the same size and numbers as entries"
        ) from error


def _channels_first(array: Array, what: str, *, is_tensor: bool) -> Array:
    """Convert images to (N, C, H, W), and refuse those that seem to have the other layout."""
    ours, other = (1, 3) if is_tensor else (3, 1)
    if array.shape[ours] not in (1, 3) and array.shape[other] in (1, 3):
        kind, layout = ("a tensor", "(N, C, H, W)") if is_tensor else ("an array", "(N, H, W, C)")
        raise DataError(
            f"{what} has shape {array.shape}, and {kind} of images is {layout}: move the axis of the channels"
        )
    return array if is_tensor else array.transpose(0, 3, 1, 2)


def _classes(values: Any, n: int, what: str, n_classes: int | None = None) -> Tensor:
    array = _as_array(values, what)
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
