"""The rows of ``timing.csv`` that can be compared: one model, one device, single networks, the fastest engine."""

from collections.abc import Sequence

import pandas as pd

ENGINES = ("pytorch", "autograd", "passes")
"""What training can run on; plain training is bare PyTorch's."""


def comparable(timing: pd.DataFrame, model: str, methods: Sequence[str]) -> pd.DataFrame:
    """Pick the steps of some methods on a model that were timed on one device.

    The device is the one with the most of the methods, the latest if there are several such. Where a method was timed
    with several engines, the fastest at each batch size stands for it. The k-th time that a method was benchmarked
    is its repeat k.

    Args:
        timing: the table.
        model: whose steps.
        methods: in the ``method`` column.

    Returns:
        The rows of ``timing.csv`` with a further column ``repeat``.
    """
    plain = (timing["engine"] == "pytorch") | (timing["method"] != "none")
    alone = (timing["model"] == model) & (timing["n_networks"] == 1) & timing["engine"].isin(ENGINES)
    mine = timing[alone & plain & timing["method"].isin(methods)]
    if mine.empty:
        return mine.assign(repeat=pd.Series(dtype=int))
    devices = mine.groupby("device").agg(
        methods=("method", "nunique"), rows=("seconds", "size"), last=("started", "max")
    )
    mine = mine[mine["device"] == devices.sort_values(["methods", "rows", "last"]).index[-1]]
    typical = mine.groupby(["method", "batch_size", "engine"])["seconds"].median()
    fastest = {(method, size): engine for method, size, engine in typical.sort_values(ascending=False).index}
    engines = [fastest[key] for key in zip(mine["method"], mine["batch_size"], strict=True)]
    mine = mine[mine["engine"] == engines].sort_values("started", kind="stable")
    return mine.assign(repeat=mine.groupby(["method", "batch_size"]).cumcount())


def by_method(timing: pd.DataFrame, column: str) -> pd.DataFrame:
    """Arrange a column of `comparable` rows by method: one row a batch size and repeat, one column a method."""
    return timing.pivot_table(index=["batch_size", "repeat"], columns="method", values=column)
