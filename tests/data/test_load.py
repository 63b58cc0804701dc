import hashlib
import json

import numpy as np
import pytest
from sklearn.datasets import load_digits

from jacexp.data import NAMES, load
from jacexp.errors import ConfigError, DataError


def test_every_set_has_a_name():
    assert NAMES == ("digits", "mnist", "kmnist", "fmnist", "cifar10", "npz")


def test_digits_are_the_same_bytes_everywhere():
    digits = load("digits")
    assert digits.x_train.shape == (1437, 1, 28, 28)
    assert digits.x_test.shape == (360, 1, 28, 28)
    data = digits.x_train.numpy().tobytes() + digits.x_test.numpy().tobytes()
    assert hashlib.md5(data).hexdigest() == "05d6b2020fdd7fb1dbb37b8011e534c9"


def test_digits_are_enlarged_threefold_about_their_pixels():
    digits = load("digits")
    embedded = load_digits()
    order = embedded.target.argsort(kind="stable")[::5]
    small = embedded.images[np.sort(order)]
    # Every third pixel, from the fourth on, is one of the 64 themselves; the frame of one pixel is 0.
    np.testing.assert_array_equal(digits.x_test[:, 0, 3:27:3, 3:27:3].numpy(), np.round(small * 255 / 16))
    np.testing.assert_array_equal(digits.y_test.numpy(), embedded.target[np.sort(order)])
    assert not digits.x_test[..., [0, 27], :].any()
    assert not digits.x_test[..., [0, 27]].any()
    middle = (2 * small[:, 4, 4] + small[:, 4, 5]) / 3
    np.testing.assert_array_equal(digits.x_test[:, 0, 15, 16].numpy(), np.round(middle * 255 / 16))


def test_digits_test_set_is_a_fifth_of_each_class():
    digits = load("digits")
    share = digits.y_test.bincount() / (digits.y_test.bincount() + digits.y_train.bincount())
    np.testing.assert_allclose(share, 0.2, atol=0.005)


def test_a_set_of_ones_own_is_named_after_its_file(tmp_path, make_arrays, same_arrays):
    content = make_arrays(size=(6, 5))
    np.savez(tmp_path / "shapes6.npz", **content)
    images = load("npz", path=tmp_path / "shapes6.npz")
    assert images.name == "shapes6"
    same_arrays(images, content)


def test_a_published_set_may_lie_in_an_npz_and_keeps_its_name(tmp_path, make_arrays, same_arrays):
    content = make_arrays(n_test=18, size=(32, 32, 3))
    np.savez(tmp_path / "cifar10.npz", **content)
    images = load("cifar10", path=str(tmp_path / "cifar10.npz"))
    assert images.name == "cifar10"
    same_arrays(images, content)
    assert images.source["n_test"] == 18
    assert json.loads(json.dumps(images.source)) == images.source


@pytest.mark.parametrize(
    ("size", "n_train", "found"),
    [((28, 28), 40, r"10 classes of \(1, 28, 28\)"), ((32, 32, 3), 9, r"9 classes of \(3, 32, 32\)")],
)
def test_another_set_does_not_pass_for_a_published_one(tmp_path, make_arrays, size, n_train, found):
    np.savez(tmp_path / "a.npz", **make_arrays(n_train, 5, size) | {"y_test": np.zeros(5, int)})
    with pytest.raises(DataError, match=rf"a\.npz has {found} images, so it is not cifar10"):
        load("cifar10", path=tmp_path / "a.npz")


def test_ones_own_set_may_not_take_the_name_of_a_published_one(tmp_path, make_arrays):
    np.savez(tmp_path / "KMNIST.npz", **make_arrays())
    with pytest.raises(ConfigError, match="would be reported as KMNIST"):
        load("npz", path=tmp_path / "KMNIST.npz")


@pytest.mark.parametrize(("name", "path"), [("digits", "some.npz"), ("npz", None)])
def test_path_goes_with_the_sets_that_lie_in_files(name, path):
    with pytest.raises(ConfigError, match=r"dataset\.path=FILE\.npz goes with"):
        load(name, path=path)


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(ConfigError, match="dataset=minst is unknown; choose from digits, mnist"):
        load("minst")


def test_the_root_is_the_argument_or_the_environments_or_data(mnist, monkeypatch, tmp_path, same_arrays):
    root, content = mnist
    monkeypatch.setenv("JACEXP_DATA", str(root))
    same_arrays(load("mnist", download=False), content)
    (root / "MNIST").rename(tmp_path / "elsewhere")
    monkeypatch.delenv("JACEXP_DATA")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="data/MNIST/raw/train-images"):
        load("mnist", download=False)
