import pytest

from jacexp.report.schema import read_store
from jacexp.report.timings import by_method, comparable

METHODS = ("none", "spec")


@pytest.fixture
def timing(tables, tmp_path):
    return lambda: read_store(tables.write(tmp_path)).timing


def test_the_fastest_engine_that_training_can_run_on_stands_for_a_method(tables, timing):
    for engine, ratio in (("autograd", 3.0), ("passes", 2.0), ("compiled", 1.0)):
        tables.time("lenet", "spec", ratio, engine=engine)
    tables.time("lenet", "none", 1.0)
    tables.time("lenet", "none", 0.8, engine="passes")
    taken = comparable(timing(), "lenet", METHODS)
    assert dict(zip(taken["method"], taken["ratio"], strict=True)) == {"spec": 2.0, "none": 1.0}


def test_one_device_is_taken_the_one_with_the_most_methods(tables, timing):
    for method in METHODS:
        tables.time("lenet", method, 2.0, device="gpu")
    tables.time("lenet", "spec", 9.0, device="cpu", started="2026-01-01T00:00:00+00:00")
    taken = comparable(timing(), "lenet", METHODS)
    assert taken["ratio"].tolist() == [2.0, 2.0]


def test_repeats_are_counted_and_fused_steps_and_other_models_left_out(tables, timing):
    for ratio in (2.0, 2.2):
        tables.time("lenet", "spec", ratio)
        tables.time("lenet", "none", 1.0)
    tables.time("lenet", "spec", 9.0, n_networks=8)
    tables.time("vgg16_bn", "spec", 9.0)
    table = by_method(comparable(timing(), "lenet", METHODS), "ratio")
    assert table["spec"].to_dict() == {(32, 0): 2.0, (32, 1): 2.2}
    assert table["none"].tolist() == [1.0, 1.0]


def test_nothing_timed_is_an_empty_table(tables, timing):
    tables.time("lenet", "spec", 2.0)
    assert by_method(comparable(timing(), "convnet_mnist", METHODS), "ratio").empty
