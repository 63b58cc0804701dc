"""A run is named by what decides its numbers, and by nothing else."""

import json

import numpy as np
import pytest

from jacexp.errors import DataError
from jacexp.train.job import identify
from jacexp.train.run import run

SHORT = ("data.subset=100", "data.holdout=50", "train.batch_size=20", "train.epochs=3")


NAMES = {
    "at": "7a94f38b5182",
    "fast_at": "86da4c9839e0",
    "fast_tbp": "ad79e77619f4",
    "frob": "5cfc909690d2",
    "l2": "47ee2742a74a",
    "loss_ibp": "802413135285",
    "none": "dceaba2d8dfe",
    "pred_ibp": "e2df82f284f2",
    "spec": "52d9ad1c8157",
    "spec_bound": "cad770f1e478",
    "tbp": "f54c40ccd1ec",
}
"""The names that these runs have always had; runs are stored under them."""


OF_BETA = ("loss_ibp", "pred_ibp", "tbp", "fast_tbp")


def words_of(method):
    """What selects a method as runs were stored when beta was constant."""
    constant = ["method.beta_schedule=constant"] if method in OF_BETA else []
    return [f"+method={method}", "data.subset=100", "data.holdout=50", *constant]


@pytest.mark.parametrize("method", NAMES)
def test_a_run_has_the_name_that_it_always_had(configure, method):
    assert identify(configure(*words_of(method))).directory.id == NAMES[method]


@pytest.mark.parametrize(
    ("method", "word"),
    [
        *((m, "method.beta_schedule=learning_rate") for m in OF_BETA),
        *((m, "method.softmax=included") for m in ("pred_ibp", "tbp")),
        *((m, "method.border=zero") for m in ("tbp", "fast_tbp")),
        *(("none", f"model.init={i}") for i in ("toolbox", "toolbox_small", "toolbox_2015")),
    ],
)
def test_another_reading_is_another_run(configure, method, word):
    key = word.split("=")[0]
    kept = [w for w in words_of(method) if not w.startswith(key)]
    assert identify(configure(*kept, word)).directory.id != NAMES[method]


def test_names_follow_the_science_alone(configure, tmp_path):
    def name(*overrides, **where):
        return identify(configure("+method=spec", *SHORT, *overrides, **where)).directory.id

    assert (
        name()
        == name("train.engine=autograd")
        == name(results=tmp_path / "elsewhere")
        == name("+logger._target_=pytorch_lightning.loggers.CSVLogger")
    )
    same_value = name("method.lam=1e-2"), name("method.lam=0.01")
    assert same_value[0] == same_value[1]
    changed = [
        "method.lam=0.02",
        "seed=1",
        "train.lr=0.02",
        "method.n_iter=2",
        "data.subset=101",
        "select=paper",
    ]
    assert len({name(), *(name(c) for c in changed)}) == len(changed) + 1


def test_the_same_npz_under_another_path_is_the_same_run(configure, tmp_path):
    rng = np.random.default_rng(0)
    arrays = {
        "x_train": rng.integers(0, 256, (40, 14, 14), dtype=np.uint8),
        "y_train": np.arange(40) % 3,
        "x_test": rng.integers(0, 256, (9, 14, 14), dtype=np.uint8),
        "y_test": np.arange(9) % 3,
    }
    (tmp_path / "moved").mkdir()
    paths = [tmp_path / "toy.npz", tmp_path / "moved" / "toy.npz"]
    for path in paths:
        np.savez(path, **arrays)
    jobs = [
        identify(
            configure(
                "+method=frob", "dataset=npz", f"dataset.path={p}", "train.batch_size=8", "train.epochs=1"
            )
        )
        for p in paths
    ]
    assert jobs[0].directory.id == jobs[1].directory.id
    result = run(jobs[0].cfg)
    assert result["row"]["dataset"] == "toy"
    assert json.loads(result["row"]["data"])["files"][0]["file"] == "toy.npz"
    np.savez(paths[0], **{**arrays, "y_test": (np.arange(9) + 1) % 3})
    with pytest.raises(DataError, match="the images of toy changed"):
        jobs[0].prepare()
    assert identify(jobs[0].cfg).directory.id != jobs[1].directory.id
