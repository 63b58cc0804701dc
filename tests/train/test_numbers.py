"""Runs keep their names and their numbers from version to version: stored results would otherwise be another program's.

If one of these changes on purpose, the changelog says so.
"""

import pytest

from jacexp.train.fused import train_together
from jacexp.train.job import identify
from jacexp.train.run import run
from tests.laws import METHODS

IDS = {
    "at": "a955d14e5899",
    "fast_at": "bf0e5bf85877",
    "fast_tbp": "d7071ada732e",
    "frob": "6df353c22816",
    "l2": "2f8b96160889",
    "loss_ibp": "4d142e9e07cc",
    "none": "889080437f64",
    "pred_ibp": "cf0b155e1637",
    "spec": "79cf91f34fb3",
    "spec_bound": "524b1f57b8b2",
    "tbp": "9e5ee16cac1a",
}
SHORT = ("data.subset=200", "data.holdout=100", "train.batch_size=20", "train.epochs=3", "train.lr=0.1")
NONE, SPEC = ("+method=none",), ("+method=spec", "model=mlp", "train.precision='64'")
# Without pools: where two pixels of one are equal, rounding says which is the larger.
NUMBERS = [
    (NONE, "alone", "605be63827ad", (37, 131), (1.96415, 1.97008)),
    (NONE, "fused", "605be63827ad", (37, 131), (1.96415, 1.97008)),
    (SPEC, "alone", "2234f5a12445", (62, 260), (1.018959660196904, 0.871265213424715)),
    (SPEC, "fused", "2234f5a12445", (62, 260), (1.018959660196904, 0.871265213424715)),
]


def test_every_method_has_an_id_here():
    assert set(IDS) == set(METHODS)


@pytest.mark.parametrize("method", METHODS)
def test_ids(configure, method):
    assert identify(configure(f"+method={method}", *SHORT[:2])).directory.id == IDS[method]


@pytest.mark.parametrize(("words", "way", "name", "counts", "losses"), NUMBERS)
def test_numbers(configure, words, way, name, counts, losses):
    cfg = configure(*words, *SHORT)
    if way == "alone":
        run(cfg)
    else:
        train_together([cfg, configure(*words, *SHORT, "seed=1")])
    directory = identify(cfg).directory
    row = directory.result()["row"]
    assert directory.id == row["run"] == name
    assert (row["n_val_correct"], row["n_test_correct"]) == counts
    tolerance = 1e-9 if "train.precision='64'" in words else 1e-4
    assert (row["val_loss"], row["test_loss"]) == pytest.approx(losses, rel=tolerance)
