"""Evaluations of a user's own: their form, what they may return, and that they are stored as the project's are."""

from typing import Literal

import numpy as np
import pandas as pd
import pytest
import torch

from jacexp.errors import ConfigError
from jacexp.evaluate import EVALUATIONS, EvaluationError, check_samples
from jacexp.evaluate.own import own_evaluation, register_evaluation
from jacexp.evaluate.settings import Axis, Counts
from jacexp.evaluate.stored import evaluate_run, matching
from tests.evaluate.stores import add_run
from tests.test_readme import ROOT, block_of


def shifted(samples, *, shifts: Axis = (0.0, 0.1), mode: Literal["up", "down"] = "up"):
    rows = [{"variable": "shift", "value": s, "n": len(samples), "n_correct": 0} for s in shifts]
    return pd.DataFrame(rows)


def plain(samples, *, what: Literal["none", "text", "foreign", "empty", "more", "neither", "mean"] = "mean"):
    one = {"n": 3, "n_correct": 2}
    made = {
        "none": None,
        "text": "all right",
        "foreign": pd.DataFrame([{**one, "accuracy": 1.0}]),
        "empty": pd.DataFrame([]),
        "more": pd.DataFrame([{"n": 3, "n_correct": 4}]),
        "neither": pd.DataFrame([{"n": 3}]),
        "mean": pd.DataFrame([{"statistic": "norm", "mean": 1.5}]),
    }
    return made[what]


def elsewhere(samples, *, steps: Counts = (0, 1)):
    return shifted(samples, shifts=[s + 1 for s in steps])


def incomplete(samples, *, shifts: Axis = (0.0, 0.1)):
    """Leave out the last point."""
    return shifted(samples, shifts=shifts[:-1])


def nothing(): ...
def bare(samples, *, a=1): ...
def positional(samples, a: int = 1): ...
def foreign(samples, *, a: torch.Tensor): ...
def taken(samples, *, batch_size: int = 1): ...
def twice(samples, *, a: Axis = (0.0,), b: Counts = (0,)): ...


@pytest.fixture
def samples():
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 3))
    return net, torch.rand(5, 1, 2, 2), torch.arange(5) % 3


def measure(target, samples, **given):
    evaluation = own_evaluation(f"{__name__}.{target}")
    return evaluation(*samples, evaluation.settings("", given), None).points


def test_points_are_those_of_its_own_axis_or_of_the_user(samples):
    assert list(measure("shifted", samples)["value"]) == [0.0, 0.1]
    points = measure("shifted", samples, shifts=[0.3], mode="down", n_samples=2)
    assert (list(points["value"]), list(points["n"])) == ([0.3], [2])
    assert points["settings"][0] == '{"mode": "down", "n_samples": 2}'
    assert list(points["statistic"]) == [""]


@pytest.mark.parametrize(
    ("what", "why"),
    {
        "none": "returned NoneType without rows",
        "text": "returned str without rows",
        "foreign": "returned the column accuracy; a point has variable, value",
        "empty": "returned DataFrame without rows",
        "more": "with more right answers than images",
        "neither": "a point with neither n and n_correct nor a mean",
    }.items(),
)
def test_what_is_no_point_is_refused(samples, what, why):
    with pytest.raises(EvaluationError, match=why):
        measure("plain", samples, what=what)
    for target in ("elsewhere", "incomplete"):
        with pytest.raises(EvaluationError, match="other values than the points"):
            measure(target, samples)
    assert list(measure("plain", samples)["mean"]) == [1.5]


@pytest.mark.parametrize(
    ("target", "why"),
    {
        "nothing": "does not take samples; write it as",
        "bare": "a is no keyword of a plain type",
        "positional": "a is no keyword of a plain type",
        "foreign": "a is no keyword of a plain type",
        "taken": "batch_size is a setting of every evaluation: rename it",
        "twice": "has two axes, a and b; keep one",
        "absent": "cannot be imported",
    }.items(),
)
def test_a_function_of_another_form_is_refused(target, why):
    with pytest.raises(ConfigError, match=why):
        own_evaluation(f"{__name__}.{target}")


@pytest.mark.parametrize("given", [{"mode": "left"}, {"shift": [1]}, {"shifts": []}, {"shifts": [0.1, 0.1]}])
def test_settings_are_checked_by_its_annotations(samples, given):
    with pytest.raises(ConfigError, match=next(iter(given))):
        measure("shifted", samples, **given)


def test_its_name_is_no_other_evaluation_s(monkeypatch):
    monkeypatch.setattr("jacexp.evaluate.own.EVALUATIONS", dict(EVALUATIONS))
    for name, why in (("pgd", "is an evaluation of jacexp's"), ("a/b", "without slashes"), (" ", "without")):
        with pytest.raises(ConfigError, match=why):
            register_evaluation(name, f"{__name__}.shifted")
    for _ in range(2):
        register_evaluation("mine", f"{__name__}.shifted")


def test_only_what_is_missing_is_measured(tmp_path, monkeypatch):
    monkeypatch.setitem(EVALUATIONS, "mine", own_evaluation(f"{__name__}.shifted"))
    add_run(tmp_path)
    (run,) = matching(tmp_path, {})
    counts = [
        evaluate_run(tmp_path, run, "mine", {"shifts": shifts}) for shifts in ([0.1], [0.1, 0.2], [0.2])
    ]
    assert counts == [1, 1, 0]
    stored = pd.read_csv(tmp_path / "curves.csv")
    assert np.array_equal(stored["value"], [0.1, 0.2])
    assert set(stored["eval"]) == {"mine"}


def test_the_function_of_the_documentation_is_the_example_s(samples):
    names = {}
    exec(block_of("An evaluation", page="docs/own.md"), names)
    points = names["contrast"](check_samples(*samples), factors=(1.0, 0.1))
    assert list(points["value"]) == [1.0, 0.1]
    example = (ROOT / "examples" / "own_project" / "contrast.py").read_text()
    assert names["contrast"].__code__.co_code == _function(example, "contrast").__code__.co_code


def _function(source, name):
    names = {}
    exec(source, names)
    return names[name]
