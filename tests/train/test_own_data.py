"""Data of a user's own, by the import path of a function."""

import json
from functools import wraps

import numpy as np
import pytest
import torch

from jacexp.data import load, split
from jacexp.errors import ConfigError, JacexpError
from jacexp.evaluate.frozen import EvaluationError
from jacexp.evaluate.stored import evaluate_run, matching
from jacexp.train import job
from jacexp.train.fused import train_together
from jacexp.train.job import identify
from jacexp.train.run import run
from tests.laws import METHODS
from tests.train import own_things

HERE = "tests.train.own_things"
SHORT = ("protocol=own", "train.epochs=2", "train.batch_size=10")
VECTORS = (*SHORT, f"+dataset._target_={HERE}.vectors", "model=mlp", "model.hidden=[8]")
PICTURES = (*SHORT, f"+dataset._target_={HERE}.pictures")

WRONG = {
    "three": "returns a tuple of 3; return the tuple x_train, y_train, x_test, y_test",
    "dict": "returns a dict of 1; return the tuple",
    "none": "returns a NoneType; return the tuple",
    "fails": "fails (FileNotFoundError: there is no file)",
    "exits": "fails (SystemExit: no folder given)",
    "float labels": "y_train is float64; store classes as integers",
    "nan": "x_train has values that are not finite (NaN or infinity)",
    "negative": "floats must be in [0, 1], the unit of noise and attacks: scale them",
    "bytes as floats": "floats must be in [0, 1]",
    "labels from 1": "y_train has no image of class 0; number the classes 0 … C-1",
    "another class": "y_test has classes from 1 to 3; y_train has 0 … 2",
    "one class": "y_train has one class only",
    "fewer labels": "y_train has shape (59,); 60 images need shape (60,)",
    "two lengths": "x_train is 4 and one of x_test is 3; make them the same size",
    "unequal sizes": "x_train is no array",
    "words": "x_train is <U1; store pixels as uint8, 0 to 255, or as floats in [0, 1]",
    "channels first": "an array of images is (N, H, W, C): move the axis of the channels",
    "channels last": "a tensor of images is (N, C, H, W): move the axis of the channels",
    "no images": "there is no image in it",
    "constant": "a feature of the training set is constant; set data.std=none, or leave it out",
    "nothing": "fails (KeyError: 'nothing')",
}


@pytest.mark.parametrize("what", WRONG)
def test_wrong_data_are_refused_in_one_line(configure, tmp_path, what):
    words = (*SHORT, f"+dataset._target_={HERE}.wrong", f"+dataset.what='{what}'", "model=mlp")
    with pytest.raises(JacexpError) as refused:
        run(configure("+method=none", *words))
    assert WRONG[what] in str(refused.value)
    assert "\n" not in str(refused.value)
    assert not list(tmp_path.iterdir())


KEYS = {
    "+dataset.k=3": "dataset.k is unknown: vectors takes dataset.n, dataset.d, dataset.n_classes, dataset.top",
    "+dataset.n=many": "dataset.n=many: choose a whole number",
    "dataset.path=x.npz": "dataset.path is unknown",
    "model=lenet": "model=lenet takes images, and these are vectors (4,): choose model=mlp",
    "data.augment=affine": "data.augment=affine is for images, and vectors has vectors",
    "dataset.name=a/b": "dataset.name='a/b': choose a name without slashes and commas",
    "dataset.name=''": "dataset.name='': choose a name",
    "data.subset=1000": "subset=1000 must lie between 1 and the 60 training images of vectors",
}


@pytest.mark.parametrize("word", KEYS)
def test_a_wrong_key_is_refused_in_one_line(configure, word):
    words = [w for w in VECTORS if "model" not in word or "model" not in w]
    with pytest.raises(JacexpError) as refused:
        identify(configure("+method=none", *words, word)).prepare()
    assert KEYS[word] in str(refused.value)


def test_data_of_ones_own_cannot_be_reported_as_a_published_set(configure):
    words = (*SHORT, f"+dataset._target_={HERE}.mnist", "model=mlp")
    with pytest.raises(ConfigError, match=r"would be reported as mnist: set dataset\.name to another"):
        identify(configure("+method=none", *words))
    assert identify(configure("+method=none", *words, "dataset.name=mine")).cfg.dataset.name == "mine"


def test_the_name_of_a_run_holds_the_arguments_and_the_content(configure, monkeypatch):
    def name(*words):
        return identify(configure("+method=none", *VECTORS, *words)).directory.id

    assert name() == name("+dataset.n=60") == name("dataset.name=vectors")
    assert len({name(), name("+dataset.top=0.9"), name("+dataset.d=5")}) == 3
    before, real = name(), own_things.vectors
    job._load_once.cache_clear()

    @wraps(real)
    def changed(*args, **kwargs):
        x, *others = real(*args, **kwargs)
        x[0, 0] += 1e-3
        return x, *others

    monkeypatch.setattr(own_things, "vectors", changed)
    assert name() != before
    job._load_once.cache_clear()


@pytest.mark.parametrize("method", sorted(set(METHODS) - {"tbp", "fast_tbp"}))
def test_every_method_but_tangents_trains_on_vectors(configure, method):
    cfg = configure(f"+method={method}", *VECTORS)
    result = run(cfg)
    assert (result["status"], result["row"]["dataset"], result["row"]["n_test"]) == ("done", "vectors", 20)


def test_vectors_are_normalised_by_feature(configure):
    found = identify(configure("+method=none", *VECTORS))
    z = found.module.net.normalize(found.data.x_train)
    torch.testing.assert_close(z.mean(0), torch.zeros(4), atol=1e-6, rtol=0)
    torch.testing.assert_close(z.std(0, correction=0), torch.ones(4))


def test_stacked_vectors_give_each_network_its_numbers(configure, tmp_path):
    def cfg(seed, results):
        words = (*VECTORS, "train.precision='64'", f"seed={seed}")
        return configure("+method=loss_ibp", *words, results=tmp_path / results)

    train_together([cfg(0, "fused"), cfg(1, "fused")])
    run(cfg(1, "alone"))
    fused, alone = (identify(cfg(1, results)).directory.result()["row"] for results in ("fused", "alone"))
    assert fused["test_loss"] == pytest.approx(alone["test_loss"], rel=1e-9)


def test_arrays_have_their_channels_last_and_tensors_first():
    arguments = [{"layout": layout} for layout in ("tensor", "array")]
    first, second = (load("p", target=f"{HERE}.pictures", arguments=a) for a in arguments)
    assert first.x_train.shape == (60, 2, 16, 12)
    assert first.x_train.equal(second.x_train)


def test_float_images_are_those_of_bytes(tmp_path):
    x, y = np.random.default_rng(0).integers(256, size=(40, 8, 8, 3), dtype=np.uint8), np.arange(40) % 2
    splits = []
    for name, values in (("bytes", x), ("floats", x / 255)):
        np.savez(tmp_path / f"{name}.npz", x_train=values, y_train=y, x_test=values, y_test=y)
        splits.append(split(load("npz", path=tmp_path / f"{name}.npz"), seed=0))
    for mean in ("channel", "pixel"):
        for ours, theirs in zip(splits[0].mean_std(mean), splits[1].mean_std(mean), strict=True):
            torch.testing.assert_close(ours, theirs)


def test_a_run_is_evaluated_on_what_its_function_returns_again(configure, tmp_path, monkeypatch):
    run(configure("+method=none", *VECTORS, "+dataset.n=70"))
    (stored,) = matching(tmp_path, {"dataset": ["vectors"]})
    assert stored.dataset["arguments"]["n"] == 70
    assert evaluate_run(tmp_path, stored, "white_noise", {"sigmas": [0, 0.1]}) == 2
    with pytest.raises(EvaluationError, match="squares of images, and the run's data are vectors"):
        evaluate_run(tmp_path, stored, "square", {"queries": [1]})


def test_tangents_of_float_images_and_none_of_vectors(configure):
    assert run(configure("+method=tbp", *PICTURES))["status"] == "done"
    with pytest.raises(JacexpError, match="tangents need images"):
        run(configure("+method=tbp", *VECTORS))


def test_the_function_is_recorded_with_its_arguments(configure):
    row = run(configure("+method=none", *PICTURES))["row"]
    (file,) = json.loads(row["data"])["files"]
    assert file["file"] == f"{HERE}.pictures"
    assert file["arguments"] == {"n": 60, "channels": 2, "layout": "tensor"}
