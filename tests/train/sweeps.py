"""Sweeps of small runs, one alone or several in a stack, for the tests of what goes wrong in them."""

from jacexp.sweep.engine import plan, train_missing
from jacexp.train.job import identify
from tests.sweep.test_engine import Recorded

ROUNDING = 1e-3
"""Between a run that began anew, alone, and the same in a stack, in float32."""


def sweep(cfgs):
    """Train a fused sweep.

    Returns:
        The groups that were tried, and by each run's seed how it ended or why it did not.
    """
    executor, entries = Recorded(), plan([(str(cfg.seed), cfg) for cfg in cfgs])
    train_missing(entries, executor, fuse=True, ended=lambda entry: None)
    groups = [[int(seed) for seed in group] for group in executor.groups]
    return groups, {int(e.overrides): e.error or e.over()["status"] for e in entries}


def directory(cfg):
    return identify(cfg).directory
