import json

import pytest

from jacexp.errors import ConfigError
from jacexp.evaluate import EVALUATIONS, evaluate, find
from tests.evaluate.nets import convnet, images


def test_names_are_those_of_the_functions():
    assert all(name == evaluation.function.__name__ for name, evaluation in EVALUATIONS.items())


@pytest.mark.parametrize(
    ("name", "dataset", "last"),
    [
        ("adversarial", "mnist", 0.2),
        ("adversarial", "cifar10", 0.02),
        ("gaussian", "mnist", 0.5),
        ("gaussian", "cifar10", 0.2),
        ("white_noise", "cifar10", 0.5),
    ],
)
def test_axes_of_the_protocol(name, dataset, last):
    evaluation = EVALUATIONS[name]
    points = evaluation.settings(dataset, {})[evaluation.axis]
    assert len(points) == 21
    assert (points[0], points[10], points[-1]) == (0, last / 2, last)
    assert points == sorted(points)


def test_points_given_are_the_points_and_none_is_the_protocol():
    pgd = EVALUATIONS["pgd"]
    assert pgd.settings("fmnist", {"steps": [3], "delta": 0.1})["steps"] == [3]
    assert pgd.settings("fmnist", {"steps": None})["steps"] == [0, 1, 2, 5, 10, 20, 40]
    assert EVALUATIONS["square"].settings("fmnist", {})["queries"] == [0, 10, 30, 100, 300, 1000]


def test_stored_settings_are_all_that_the_numbers_of_a_point_depend_on():
    pgd = EVALUATIONS["pgd"]
    text = pgd.stored_settings(pgd.settings("fmnist", {"seed": 3, "batch_size": 7}))
    assert json.loads(text) == {
        "delta": 32 / 255,
        "eta": 2 / 255,
        "n_samples": None,
        "seed": 3,
        "tally": "final",
    }


def test_an_unknown_name_is_one_clear_error():
    with pytest.raises(ConfigError, match="eval=fgsm is unknown; choose one of accuracy, adversarial"):
        find("fgsm")


def test_only_boundary_measures_every_sample():
    net, (x, y) = convnet(), images(20)
    assert evaluate("accuracy", net, x, y, dataset="digits").samples is None
    outcome = evaluate("boundary", net, x, y, dataset="digits", n_directions=4)
    assert len(outcome.samples) == 20
