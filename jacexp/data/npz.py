"""Any set of images in one .npz file."""

import hashlib
import zipfile
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np

from jacexp.data.checks import KEYS, Array, image_set
from jacexp.data.spec import ImageSet
from jacexp.errors import DataError

# What numpy and zipfile raise on files that are cut, altered, encrypted, or no archive at all.
BROKEN = (OSError, EOFError, ValueError, RuntimeError, MemoryError, zipfile.BadZipFile, zlib.error)
HINT = f"make it with numpy.savez(FILE, {', '.join(f'{key}=…' for key in KEYS)}), and give it as dataset.path"


def load_npz(path: Path, name: str) -> ImageSet:
    """Read a set of images from a file made by ``numpy.savez``, without ever unpickling.

    Args:
        path: the file, with ``x_train``, ``y_train``, ``x_test``, ``y_test``; images (N, H, W) or (N, H, W, C), or
            vectors (N, D), uint8 or floats in [0, 1]; classes (N,) integers 0 … K-1, each with a training image.
        name: the name under which results are reported.

    Returns:
        The set; its source is the file's name, size in bytes and SHA-256, and the counts.

    Raises:
        DataError: if the file is missing, damaged, or holds anything else than the above.
    """
    try:
        with path.open("rb") as file:  # not left to numpy, which forgets to close one that it cannot read
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            record = {"file": path.name, "bytes": file.tell(), "sha256": digest}
            file.seek(0)
            arrays = _read(file, path)
    except BROKEN as error:
        raise DataError(f"{path} cannot be read ({error}); {HINT}") from error
    return image_set(name, arrays, {"files": [record]}, str(path))


def _read(file: BinaryIO, path: Path) -> dict[str, Array]:
    archive = np.load(file, allow_pickle=False)
    if not isinstance(archive, np.lib.npyio.NpzFile):
        raise DataError(f"{path} is not an .npz file; {HINT}")
    with archive:
        missing = [key for key in KEYS if key not in archive]
        if missing:
            raise DataError(f"{path} has {', '.join(archive)} but no {', '.join(missing)}; {HINT}")
        return {key: archive[key] for key in KEYS}
