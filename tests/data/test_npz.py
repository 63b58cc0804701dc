import hashlib
import pickle
from contextlib import suppress

import numpy as np
import pytest

from jacexp.data.npz import load_npz
from jacexp.errors import DataError


@pytest.fixture
def write(tmp_path, make_arrays):
    """Write a sound set with some arrays replaced; None leaves one out."""

    def write_set(size=(6, 5), save=np.savez, **changes):
        content = {**make_arrays(size=size), **changes}
        path = tmp_path / "mine.npz"
        save(path, **{key: value for key, value in content.items() if value is not None})
        return path, content

    return write_set


@pytest.mark.parametrize("size", [(6, 5), (6, 5, 1), (6, 5, 3)])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_images_classes_and_provenance_are_the_files(write, same_arrays, size, save):
    path, content = write(size, save)
    images = load_npz(path, "mine")
    same_arrays(images, content)
    data = path.read_bytes()
    record = {"file": "mine.npz", "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    assert images.source == {"files": [record], "n_train": 40, "n_test": 20, "n_classes": 10}
    assert images.n_classes == 10


def test_other_integer_types_and_test_sets_without_every_class_are_fine(write):
    path, _ = write(y_train=np.arange(40, dtype=">u2") % 10, y_test=np.full(20, 9, np.int8))
    assert load_npz(path, "mine").y_test.tolist() == [9] * 20


BAD = {
    "missing key": ({"y_test": None}, "has x_train, y_train, x_test but no y_test"),
    "NaN": ({"x_train": np.full((40, 6, 5), np.nan)}, "x_train has values that are not finite"),
    "floats to 255": (
        {"x_train": np.full((40, 6, 5), 255.0)},
        r"from 255 to 255; floats must be in \[0, 1\]",
    ),
    "whole numbers": ({"x_train": np.zeros((40, 6, 5), np.int64)}, "x_train is int64; store pixels as uint8"),
    "flat images": ({"x_train": np.zeros((40, 30), np.uint8)}, "x_train is 30 and one of x_test is 1x6x5"),
    "four channels": (
        {"x_test": np.zeros((20, 6, 5, 4), np.uint8)},
        "x_train is 1x6x5 and one of x_test is 4x6x5",
    ),
    "channels first": (
        {"x_test": np.zeros((20, 3, 6, 5), np.uint8)},
        r"an array of images is \(N, H, W, C\): move",
    ),
    "no images": ({"x_test": np.zeros((0, 6, 5), np.uint8)}, "x_test .* there is no image in it"),
    "two sizes": ({"x_test": np.zeros((20, 5, 6), np.uint8)}, "x_train is 1x6x5 and one of x_test is 1x5x6"),
    "too few labels": ({"y_train": np.arange(39) % 10}, r"y_train has shape \(39,\); 40 images need"),
    "one-hot labels": ({"y_test": np.zeros((20, 10), int)}, r"y_test has shape \(20, 10\)"),
    "float labels": ({"y_train": np.arange(40) % 10 / 1}, "y_train is float64; store classes as integers"),
    "negative label": ({"y_train": np.arange(40) % 10 - 1}, "y_train has classes from -1 to 8"),
    "huge label": (
        {"y_train": np.full(40, 2**63, np.uint64)},
        "y_train has classes from 9223372036854775808",
    ),
    "gap": ({"y_train": np.arange(40) % 10 * 2}, "y_train has no image of class 1"),
    "one class": ({"y_train": np.zeros(40, int)}, "y_train has one class only"),
    "test-only class": ({"y_test": np.full(20, 10)}, "y_test has classes from 10 to 10; y_train has 0 … 9"),
    "pickled objects": ({"y_test": np.array([None] * 20)}, "cannot be read .*allow_pickle"),
}


@pytest.mark.parametrize(("changes", "message"), BAD.values(), ids=BAD.keys())
def test_a_wrong_content_names_the_file_and_what_is_wrong(write, changes, message):
    path, _ = write(**changes)
    with pytest.raises(DataError, match=message) as error:
        load_npz(path, "mine")
    assert str(path) in str(error.value)


def test_a_missing_file_a_folder_and_other_formats_say_how_to_make_one(tmp_path):
    (tmp_path / "a.npz").mkdir()
    (tmp_path / "b.npz").write_bytes(pickle.dumps({"x_train": 1}))
    (tmp_path / "c.npz").write_bytes(b"")
    np.save(tmp_path / "d.npy", np.zeros(3))
    for name in ("a.npz", "b.npz", "c.npz", "d.npy", "none.npz"):
        with pytest.raises(DataError, match=r"numpy\.savez\(FILE, x_train=…") as error:
            load_npz(tmp_path / name, "mine")
        assert str(tmp_path / name) in str(error.value)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_damaged_file_is_an_error_that_names_it_or_harmless(write, same_arrays, save):
    path, content = write((3, 3), save)
    sound = path.read_bytes()
    rng = np.random.default_rng(0)
    for cut in rng.integers(0, len(sound), 40):
        path.write_bytes(sound[:cut])
        with pytest.raises(DataError, match=r"mine\.npz cannot be read"):
            load_npz(path, "mine")
    for place, bit in zip(rng.integers(0, len(sound), 400), rng.integers(0, 8, 400), strict=True):
        altered = bytearray(sound)
        altered[place] ^= 1 << bit
        path.write_bytes(altered)
        with suppress(DataError):
            same_arrays(load_npz(path, "mine"), content)  # harmless: a time stamp, say
