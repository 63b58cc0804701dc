"""The tidy table that every evaluation returns: one row a point of a curve, counts and no percentages."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
import torch
from torch import Tensor

COLUMNS = {
    "variable": "str",
    "value": "float64",
    "threat": "str",
    "n": "Int64",
    "n_correct": "Int64",
    "mean": "float64",
    "std": "float64",
    "min": "float64",
    "max": "float64",
    "statistic": "str",
    "check": "str",
}
"""Columns of a point and their types; who calls adds its settings, and which run and which program it is of."""

Row = dict[str, Any]


def count(correct: Tensor) -> Row:
    """Return the cells n and n_correct of a boolean answer a sample, (N,)."""
    return {"n": correct.numel(), "n_correct": int(correct.sum())}


def summary(statistic: str, values: Tensor) -> Row:
    """Return the cells of a real-valued statistic: mean, standard deviation (of N − 1), minimum and maximum.

    Args:
        statistic: its name.
        values: one value a sample, (N,); none at all leaves the cells empty.

    Returns:
        The cells ``statistic``, ``mean``, ``std``, ``min``, ``max``; one value alone has no deviation.
    """
    if values.numel() == 0:
        return {"statistic": statistic}
    values = values.detach().double().cpu()
    cells = {
        "statistic": statistic,
        "mean": values.mean().item(),
        "min": values.min().item(),
        "max": values.max().item(),
    }
    return cells if values.numel() == 1 else {**cells, "std": torch.std(values).item()}


def points(rows: Sequence[Row], threat: str) -> pd.DataFrame:
    """Make the table of an evaluation from its rows.

    Args:
        rows: cells by column; a missing text is empty, a missing number is NaN or NA.
        threat: what is perturbed and what is clipped, in a few words.

    Returns:
        One row a point with the columns of `COLUMNS`, in their order.
    """
    table = pd.DataFrame(list(rows), columns=list(COLUMNS)).assign(threat=threat)
    texts = [name for name, kind in COLUMNS.items() if kind == "str"]
    table[texts] = table[texts].astype(object).fillna("")
    return table.astype(COLUMNS)
