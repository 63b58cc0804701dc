import gzip
import hashlib
import pickle
import warnings
from pathlib import Path

import numpy as np
import pytest
from torchvision import datasets

from jacexp.data import load, published
from jacexp.errors import DataError

TRAIN_IMAGES = "train-images-idx3-ubyte.gz"


def unpack(packed: Path) -> Path:
    plain = packed.with_suffix("")
    plain.write_bytes(gzip.decompress(packed.read_bytes()))
    packed.unlink()
    return plain


def test_packed_idx_files_are_enough_and_their_md5_is_recorded(mnist, same_arrays):
    root, content = mnist
    images = load("mnist", root=root, download=False)
    same_arrays(images, content)
    assert images.name == "mnist"
    first = images.source["files"][0]
    size = (root / "MNIST" / "raw" / TRAIN_IMAGES).stat().st_size
    assert first == {"file": TRAIN_IMAGES, "bytes": size, "md5": datasets.MNIST.resources[0][1]}
    assert (len(images.source["files"]), images.source["n_train"], images.source["n_test"]) == (4, 40, 20)


def test_unpacked_idx_files_are_enough_and_their_sha256_is_recorded(mnist, same_arrays):
    root, content = mnist
    plain = [unpack(packed) for packed in (root / "MNIST" / "raw").iterdir()]
    images = load("mnist", root=root, download=False)
    same_arrays(images, content)
    recorded = {record["file"]: record["sha256"] for record in images.source["files"]}
    assert recorded == {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in plain}


def test_a_verified_gz_goes_before_what_was_unpacked_from_it(mnist, same_arrays):
    root, content = mnist
    (root / "MNIST" / "raw" / TRAIN_IMAGES).with_suffix("").write_bytes(b"half an image")
    same_arrays(load("mnist", root=root, download=False), content)


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-50], lambda data: data[:50] + b"?" + data[51:], bytes.title]
)
def test_a_gz_with_another_md5_is_not_opened(mnist, damage):
    root, _ = mnist
    packed = root / "MNIST" / "raw" / TRAIN_IMAGES
    packed.write_bytes(damage(packed.read_bytes()))
    with pytest.raises(DataError, match=rf"{packed} has MD5 .* Delete it"):
        load("mnist", root=root)


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-1],
        lambda data: data + b"?",
        lambda data: b"",
        lambda data: b"\x00\x00\x08\x01" + data[4:],
        lambda data: data[:4] + b"\x00\x00\x00\x29" + data[8:],
    ],
    ids=["truncated", "too long", "empty", "magic of labels", "another count"],
)
def test_an_unpacked_file_of_another_shape_is_refused(mnist, damage):
    root, _ = mnist
    plain = unpack(root / "MNIST" / "raw" / TRAIN_IMAGES)
    plain.write_bytes(damage(plain.read_bytes()))
    with pytest.raises(DataError, match=rf"{plain} is not an IDX file of shape \(40, 28, 28\)"):
        load("mnist", root=root, download=False)


def test_a_missing_file_says_what_to_put_where(mnist, monkeypatch):
    root, _ = mnist
    packed = root / "MNIST" / "raw" / TRAIN_IMAGES
    packed.unlink()
    where = rf"{packed} is missing, .* Put the four .gz files of MNIST in {packed.parent};.*JACEXP_DATA"
    with pytest.raises(DataError, match=where):
        load("mnist", root=root, download=False)
    monkeypatch.setattr(datasets.MNIST, "mirrors", ["http://127.0.0.1:1/"])
    monkeypatch.setenv("no_proxy", "*")
    before = sorted(packed.parent.iterdir())
    with pytest.raises(DataError, match=r"the download failed .*refused.*JACEXP_DATA"):
        load("mnist", root=root)
    assert sorted(packed.parent.iterdir()) == before


def test_only_what_is_missing_is_downloaded_into_its_place(mnist, monkeypatch, same_arrays):
    root, content = mnist
    packed = root / "MNIST" / "raw" / TRAIN_IMAGES
    data, asked = packed.read_bytes(), []
    packed.unlink()

    def fetch(urls, target, md5):
        asked.append((urls, md5))
        target.write_bytes(data)

    monkeypatch.setattr(published, "fetch", fetch)
    same_arrays(load("mnist", root=root), content)
    urls = [mirror + TRAIN_IMAGES for mirror in datasets.MNIST.mirrors]
    assert asked == [(urls, datasets.MNIST.resources[0][1])]


def test_a_folder_in_place_of_a_file_is_a_data_error(mnist):
    root, _ = mnist
    packed = root / "MNIST" / "raw" / TRAIN_IMAGES
    packed.unlink()
    packed.mkdir()
    with pytest.raises(DataError, match=f"mnist cannot be read from {root}.*{TRAIN_IMAGES}"):
        load("mnist", root=root)


def test_cifar10_reads_its_batches_as_it_was_written_long_ago(cifar10, same_arrays):
    root, content = cifar10
    (root / datasets.CIFAR10.filename).unlink()
    images = load("cifar10", root=root, download=False)
    same_arrays(images, content)
    files = {record["file"]: record["md5"] for record in images.source["files"]}
    assert files == dict([*datasets.CIFAR10.train_list, *datasets.CIFAR10.test_list])


def test_a_numpy_that_warns_of_old_pickles_is_no_error(cifar10, monkeypatch, same_arrays):
    root, content = cifar10
    loads = pickle.loads

    def warn_and_load(data, **options):
        warnings.warn("align should be a boolean", np.exceptions.VisibleDeprecationWarning, stacklevel=2)
        return loads(data, **options)

    monkeypatch.setattr(pickle, "loads", warn_and_load)
    same_arrays(load("cifar10", root=root, download=False), content)


def test_the_archive_of_cifar10_alone_is_enough(cifar10, same_arrays):
    root, content = cifar10
    (root / "cifar-10-batches-py" / "data_batch_3").unlink()
    images = load("cifar10", root=root, download=False)
    same_arrays(images, content)
    archive = root / datasets.CIFAR10.filename
    record = {"file": archive.name, "bytes": archive.stat().st_size, "md5": datasets.CIFAR10.tgz_md5}
    assert images.source["files"] == [record]


@pytest.mark.parametrize("name", ["cifar-10-batches-py/test_batch", "cifar-10-python.tar.gz"])
def test_no_pickle_and_no_archive_with_another_md5_is_opened(cifar10, monkeypatch, name):
    root, _ = cifar10
    if name.endswith(".gz"):
        (root / "cifar-10-batches-py" / "test_batch").unlink()
    (root / name).write_bytes((root / name).read_bytes() + b".")
    monkeypatch.setattr(published, "_unpickle", lambda data: pytest.fail("an unverified file was opened"))
    monkeypatch.setattr(published.tarfile, "open", lambda **_: pytest.fail("an unverified file was opened"))
    with pytest.raises(DataError, match=f"{root / name} has MD5"):
        load("cifar10", root=root)


def test_missing_cifar10_says_what_to_put_where(cifar10):
    root, _ = cifar10
    (root / "cifar-10-batches-py" / "test_batch").unlink()
    (root / datasets.CIFAR10.filename).unlink()
    with pytest.raises(DataError, match=rf"test_batch is missing, .* Put cifar-10-python.tar.gz in {root};"):
        load("cifar10", root=root, download=False)
