import numpy as np
import pytest
import torch

from jacexp.evaluate.points import COLUMNS, count, points, summary


def test_a_table_has_all_columns_and_leaves_empty_what_is_not_measured():
    rows = [
        {"variable": "sigma", "value": 0.1, **count(torch.tensor([True, False, True]))},
        summary("loss", torch.ones(1)),
    ]
    table = points(rows, threat="clean")
    assert list(table) == list(COLUMNS)
    counted, measured = table.to_dict("records")
    assert (counted["n"], counted["n_correct"], counted["statistic"], counted["check"]) == (3, 2, "", "")
    assert np.isnan(counted["mean"])
    assert (measured["variable"], measured["statistic"], measured["mean"]) == ("", "loss", 1.0)
    assert np.isnan(measured["value"])
    assert table["n_correct"].isna().tolist() == [False, True]


def test_summary_is_mean_deviation_and_range():
    values = torch.tensor([1.0, 2.0, 6.0])
    cells = summary("distance", values)
    assert cells.pop("statistic") == "distance"
    assert cells == pytest.approx({"mean": 3.0, "std": 7**0.5, "min": 1.0, "max": 6.0})


def test_summary_of_few_values_has_no_deviation():
    assert summary("distance", torch.ones(1)) == {
        "statistic": "distance",
        "mean": 1.0,
        "min": 1.0,
        "max": 1.0,
    }
    assert summary("distance", torch.ones(0)) == {"statistic": "distance"}
