"""Small grids whose runs can be fused, for the tests that train them so and otherwise."""

import numpy as np

from jacexp.train.fused import train_together
from jacexp.train.run import run
from tests.laws import METHODS, make
from tests.networks import network

TINY = ("data.subset=60", "data.holdout=30", "train.batch_size=16", "train.epochs=2")
STRENGTH = {name: make(name, network("mlp")).method.strength for name in METHODS}


def grid(configure, method, *words, n=3, **where):
    """Compose runs that differ in strength, learning rate, momentum, seed and so in their images."""
    return [
        configure(
            f"+method={method}",
            *TINY,
            *([f"method.{STRENGTH[method]}={0.02 * (i + 1)}"] if STRENGTH[method] else []),
            f"train.lr={0.01 * (i + 1)}",
            f"train.momentum={0.8 + 0.05 * i}",
            f"seed={i}",
            *words,
            **where,
        )
        for i in range(n)
    ]


def train_alone(cfgs):
    """Train runs one after another."""
    for cfg in cfgs:
        run(cfg)


WAYS = {"fused": train_together, "alone": train_alone}


def save_noise(path, shape, n_train=90):
    """Write images without a constant background, where maxima tie and rounding says which pixel a pool takes."""
    draw = np.random.default_rng(0)
    arrays = {
        f"{kind}_{part}": draw.integers(high, size=(n, *size), dtype=np.uint8)
        for part, n in (("train", n_train), ("test", 20))
        for kind, high, size in (("x", 256, shape), ("y", 10, ()))
    }
    np.savez(path, **arrays)
    return "dataset=npz", f"dataset.path={path}"
