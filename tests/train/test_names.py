"""A run is named by what decides its numbers, and by nothing else."""

import json

import numpy as np

from jacexp.train.job import prepare
from jacexp.train.run import run

SHORT = ("data.subset=100", "data.holdout=50", "train.batch_size=20", "train.epochs=3")


def test_names_follow_the_science_alone(configure, tmp_path):
    def name(*overrides, **where):
        return prepare(configure("+method=spec", *SHORT, *overrides, **where)).directory.id

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
        prepare(
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
    assert prepare(jobs[0].cfg).directory.id != jobs[1].directory.id
