"""Small sets in the published formats, with their own MD5s in place of the published ones."""

import gzip
import hashlib
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
from torchvision import datasets

from jacexp.data import published

N_IDX = {"train": 40, "t10k": 20}
N_CIFAR = 20  # in each of the six batches


def md5(data: bytes) -> str:
    return hashlib.md5(data).hexdigest()


def arrays(n_train=40, n_test=20, size=(28, 28), seed=0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        "x_train": rng.integers(0, 256, (n_train, *size), np.uint8),
        "y_train": np.arange(n_train) % 10,
        "x_test": rng.integers(0, 256, (n_test, *size), np.uint8),
        "y_test": np.arange(n_test)[::-1] % 10,
    }


def idx_bytes(array: np.ndarray) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes() + array.tobytes()


@pytest.fixture
def mnist(tmp_path, monkeypatch) -> tuple[Path, dict[str, np.ndarray]]:
    """A root with MNIST/raw and its four .gz files, and the arrays in them."""
    raw, content = tmp_path / "MNIST" / "raw", arrays()
    raw.mkdir(parents=True)
    resources = []
    for part, key in (("train", "train"), ("t10k", "test")):
        for kind, values in (("images-idx3", content[f"x_{key}"]), ("labels-idx1", content[f"y_{key}"])):
            packed = gzip.compress(idx_bytes(values.astype(np.uint8)))
            name = f"{part}-{kind}-ubyte.gz"
            (raw / name).write_bytes(packed)
            resources.append((name, md5(packed)))
    monkeypatch.setattr(datasets.MNIST, "resources", resources)
    monkeypatch.setattr(published, "IDX_COUNTS", N_IDX)
    return tmp_path, content


@pytest.fixture
def cifar10(tmp_path, monkeypatch) -> tuple[Path, dict[str, np.ndarray]]:
    """A root with cifar-10-batches-py and, beside it, the archive of that folder; and the arrays in them."""
    content = arrays(5 * N_CIFAR, N_CIFAR, (32, 32, 3))
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()

    def write(name: str, x: np.ndarray, y: np.ndarray) -> list[str]:
        batch = {"data": x.transpose(0, 3, 1, 2).reshape(len(x), -1), "labels": y.tolist()}
        # As numpy 1.6 wrote it: the flags of a dtype are 0 and 1 instead of booleans.
        data = pickle.dumps(batch, protocol=2).replace(b"\x89\x88", b"K\x00K\x01")
        (folder / name).write_bytes(data)
        return [name, md5(data)]

    x, y = content["x_train"].reshape(5, N_CIFAR, 32, 32, 3), content["y_train"].reshape(5, N_CIFAR)
    train = [write(f"data_batch_{i + 1}", x[i], y[i]) for i in range(5)]
    monkeypatch.setattr(datasets.CIFAR10, "train_list", train)
    monkeypatch.setattr(
        datasets.CIFAR10, "test_list", [write("test_batch", content["x_test"], content["y_test"])]
    )
    with tarfile.open(tmp_path / datasets.CIFAR10.filename, "w:gz") as tar:
        tar.add(folder, folder.name)
    monkeypatch.setattr(datasets.CIFAR10, "tgz_md5", md5((tmp_path / datasets.CIFAR10.filename).read_bytes()))
    return tmp_path, content


@pytest.fixture
def same_arrays():
    """Compare an ImageSet with the arrays it was made of, (N, H, W) or (N, H, W, C)."""

    def compare(images, content) -> None:
        for key in ("x_train", "x_test"):
            x = content[key]
            channels_first = x[:, None] if x.ndim == 3 else x.transpose(0, 3, 1, 2)
            np.testing.assert_array_equal(getattr(images, key).numpy(), channels_first)
        for key in ("y_train", "y_test"):
            np.testing.assert_array_equal(getattr(images, key).numpy(), content[key])

    return compare


@pytest.fixture
def make_arrays():
    return arrays
