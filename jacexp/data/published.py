"""The published sets, in torchvision's folder layout, with nothing opened before it is verified."""

import gzip
import hashlib
import io
import pickle
import tarfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from jacexp.data.checks import Array, image_set
from jacexp.data.download import fetch, verified
from jacexp.data.spec import ImageSet
from jacexp.errors import DataError

Record = dict[str, Any]  # of one file: its name, size in bytes, and MD5 or SHA-256
TORCHVISION = {"mnist": "MNIST", "kmnist": "KMNIST", "fmnist": "FashionMNIST", "cifar10": "CIFAR10"}
IN_SHAPE = {"mnist": (1, 28, 28), "kmnist": (1, 28, 28), "fmnist": (1, 28, 28), "cifar10": (3, 32, 32)}
IDX_COUNTS = {"train": 60_000, "t10k": 10_000}  # images in each part of MNIST and its two successors
IDX_MAGIC = {1: b"\x00\x00\x08\x01", 3: b"\x00\x00\x08\x03"}  # unsigned bytes with so many axes


def load_published(name: str, root: Path, download: bool) -> ImageSet:
    """Read a published set from the folder that torchvision calls its root.

    Every file is compared with the MD5 that torchvision publishes before it is opened. The exception are IDX
    files that somebody unpacked, whose MD5 is not published: they pass by their format and counts, and the
    SHA-256 is recorded.

    Args:
        name: ``mnist``, ``kmnist``, ``fmnist`` or ``cifar10``.
        root: the folder in which MNIST/raw, KMNIST/raw, FashionMNIST/raw and cifar-10-batches-py (or
            cifar-10-python.tar.gz) lie.
        download: fetch the files that are missing.

    Returns:
        The set; its source lists each file with its size in bytes and MD5 or SHA-256.

    Raises:
        DataError: if a file is missing and cannot be downloaded, or is not the published one.
    """
    from torchvision import datasets

    published = getattr(datasets, TORCHVISION[name])
    try:
        if name == "cifar10":
            arrays, files = _read_cifar10(published, root, download)
        else:
            arrays, files = _read_idx_set(published, root / TORCHVISION[name] / "raw", download)
    except OSError as error:
        raise DataError(f"{name} cannot be read from {root}: {error}") from error
    return image_set(name, arrays, {"files": files}, f"{name} in {root}")


def _read_idx_set(published: Any, folder: Path, download: bool) -> tuple[dict[str, Array], list[Record]]:
    arrays, files = {}, []
    for packed, md5 in published.resources:
        urls = [mirror + packed for mirror in published.mirrors] if download else []
        data, record = _read_idx_bytes(folder / packed, md5, urls)
        part, kind = packed.split("-")[:2]  # "train-images-idx3-ubyte.gz"
        shape = (IDX_COUNTS[part], 28, 28) if kind == "images" else (IDX_COUNTS[part],)
        key = ("x" if kind == "images" else "y") + ("_train" if part == "train" else "_test")
        arrays[key] = _parse_idx(data, shape, folder / record["file"])
        files.append(record)
    return arrays, files


def _read_idx_bytes(packed: Path, md5: str, urls: list[str]) -> tuple[bytes, Record]:
    """Bytes of one IDX file, from its .gz if there is one, and the record of the file that was read."""
    plain = packed.with_suffix("")
    if not packed.exists() and not plain.exists():
        _obtain(urls, packed, md5, f"the four .gz files of {packed.parent.parent.name}")
    if packed.exists():
        data = verified(packed.read_bytes(), md5, packed)
        return gzip.decompress(data), {"file": packed.name, "bytes": len(data), "md5": md5}
    data = plain.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    return data, {"file": plain.name, "bytes": len(data), "sha256": digest}


def _parse_idx(data: bytes, shape: tuple[int, ...], path: Path) -> Array:
    header = IDX_MAGIC[len(shape)] + np.array(shape, ">i4").tobytes()
    expected = len(header) + int(np.prod(shape))
    if not data.startswith(header) or len(data) != expected:
        raise DataError(
            f"{path} is not an IDX file of shape {shape}: it has {len(data)} of {expected} bytes, or is of "
            "another set. Delete it and put the published .gz file in its place"
        )
    return np.frombuffer(data, np.uint8, offset=len(header)).reshape(shape)


def _read_cifar10(published: Any, root: Path, download: bool) -> tuple[dict[str, Array], list[Record]]:
    folder, archive = root / published.base_folder, root / published.filename
    parts = [*published.train_list, *published.test_list]
    absent = [folder / part for part, _ in parts if not (folder / part).exists()]
    if absent and not archive.exists():
        _obtain([published.url] if download else [], archive, published.tgz_md5, archive.name, absent[0])

    if absent:
        packed = verified(archive.read_bytes(), published.tgz_md5, archive)
        files = [{"file": archive.name, "bytes": len(packed), "md5": published.tgz_md5}]
        raw = _unpack(packed)
    else:
        raw = {part: verified((folder / part).read_bytes(), md5, folder / part) for part, md5 in parts}
        files = [{"file": part, "bytes": len(raw[part]), "md5": md5} for part, md5 in parts]
    batches = {part: _unpickle(raw[part]) for part, _ in parts}

    arrays = {}
    for key, names in (("train", published.train_list), ("test", published.test_list)):
        pixels = np.concatenate([batches[part]["data"] for part, _ in names])
        arrays[f"x_{key}"] = pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        arrays[f"y_{key}"] = np.concatenate([batches[part]["labels"] for part, _ in names])
    return arrays, files


def _unpack(archive: bytes) -> dict[str, bytes]:
    """Contents of the files of a .tar.gz, by their names without folders."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        members = ((Path(member.name).name, tar.extractfile(member)) for member in tar)
        return {name: file.read() for name, file in members if file}


def _unpickle(data: bytes) -> dict[str, Any]:
    """Open one of CIFAR-10's own pickles, whose MD5 was verified."""
    with warnings.catch_warnings():
        # numpy 2.4.0 to 2.4.4 warn of pickles as old as these, whose dtypes have 0 and 1 for booleans.
        warnings.simplefilter("ignore", np.exceptions.VisibleDeprecationWarning)
        batch: dict[str, Any] = pickle.loads(data, encoding="latin1")
    return batch


def _obtain(urls: list[str], target: Path, md5: str, what: str, absent: Path | None = None) -> None:
    """Download a file that is missing, or say what to put where."""
    reason = "downloading is switched off"
    if urls:
        try:
            return fetch(urls, target, md5)
        except DataError as error:
            reason = f"the download failed ({error})"
    raise DataError(
        f"{absent or target} is missing, and {reason}. Put {what} in {target.parent}; or set paths.data (or "
        "JACEXP_DATA) to the folder that holds torchvision's sets; or give an .npz file as dataset.path"
    )
