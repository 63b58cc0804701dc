"""One way to any set: by name from a folder, from scikit-learn, from an .npz file, or from a user's function."""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from jacexp.data.checks import image_set
from jacexp.data.function import load_function
from jacexp.data.npz import load_npz
from jacexp.data.published import IN_SHAPE, load_published
from jacexp.data.spec import ImageSet
from jacexp.errors import ConfigError, DataError

NAMES = ("digits", *IN_SHAPE, "npz")


def load(
    name: str,
    *,
    root: Path | str | None = None,
    path: Path | str | None = None,
    download: bool = True,
    target: str | None = None,
    arguments: Mapping[str, Any] | None = None,
) -> ImageSet:
    """Load a data set; what is here already is never downloaded.

    Args:
        name: ``digits`` (in scikit-learn), ``mnist``, ``kmnist``, ``fmnist``, ``cifar10`` (as torchvision
            lays them out), or ``npz`` (any set of one's own, which then has the name of its file without the
            suffix); with ``target`` any other.
        root: the folder of torchvision's sets; None: the environment's JACEXP_DATA, or else ``data``.
        path: an .npz file, see ``load_npz``; a published set that is read from one keeps its name.
        download: fetch the files that are missing.
        target: import path of a function that returns the set, see ``load_function``.
        arguments: what it is called with.

    Returns:
        The set, with its provenance in ``source``.

    Raises:
        ConfigError: if the name is unknown, or does not go with ``path``.
        DataError: if a file is missing, damaged, or not what it claims to be.
    """
    if target is not None:
        return load_function(name, target, arguments or {})
    if name not in NAMES:
        raise ConfigError(f"dataset={name} is unknown; choose from {', '.join(NAMES)}")
    if (name == "digits" and path) or (name == "npz" and not path):
        raise ConfigError("dataset.path=FILE.npz goes with dataset=npz or a published set, and npz needs it")
    if name == "digits":
        return load_digits()
    if path is None:
        root = Path(root or os.environ.get("JACEXP_DATA") or "data").expanduser()
        return load_published(name, root, download)
    path = Path(path).expanduser()
    if name == "npz":
        if path.stem.lower() in NAMES:
            raise ConfigError(
                f"{path} would be reported as {path.stem}: rename it, or name that set as dataset"
            )
        return load_npz(path, path.stem)
    images = load_npz(path, name)
    if images.x_train.shape[1:] != IN_SHAPE[name] or images.n_classes != 10:
        found = f"{images.n_classes} classes of {tuple(images.x_train.shape[1:])} images"
        raise DataError(f"{path} has {found}, so it is not {name}; say dataset=npz")
    return images


def load_digits() -> ImageSet:
    """Load scikit-learn's 1,797 handwritten digits, enlarged from 8×8 (0 … 16) to 28×28 (0 … 255).

    The enlargement is bilinear, by 3 to 26×26 with zeros around the image, and one more pixel of zeros on
    each side; it is exact in integers before the last rounding, so that every machine has the same bytes.
    Every fifth image of each class, 360 in all, is the test set.

    Returns:
        The set, with the SHA-256 of its images in ``source``.
    """
    from sklearn.datasets import load_digits as embedded

    bunch = embedded()
    small = torch.from_numpy(bunch.images)[:, None]
    tent = torch.tensor([1, 2, 3, 2, 1], dtype=torch.float64)
    ninefold = F.conv_transpose2d(small, torch.outer(tent, tent)[None, None], stride=3)
    pixels = F.pad((ninefold * 255 / (9 * 16)).round(), (1, 1, 1, 1)).to(torch.uint8)[:, 0].numpy()

    by_class = bunch.target.argsort(kind="stable")
    test, train = np.sort(by_class[::5]), np.sort(np.delete(by_class, np.s_[::5]))
    arrays = {
        "x_train": pixels[train],
        "y_train": bunch.target[train],
        "x_test": pixels[test],
        "y_test": bunch.target[test],
    }
    digest = hashlib.sha256(pixels.tobytes()).hexdigest()
    record = {"file": "sklearn.datasets.load_digits", "bytes": pixels.nbytes, "sha256": digest}
    return image_set("digits", arrays, {"files": [record]}, "scikit-learn's digits")
