"""scripts/benchmark.py step: what is timed against what, and what is written down."""

import importlib.util
import json
from pathlib import Path

import pytest

from jacexp.errors import ConfigError

PATH = Path(__file__).parents[2] / "jacexp" / "commands" / "benchmark.py"


@pytest.fixture(scope="module")
def benchmark():
    spec = importlib.util.spec_from_file_location("benchmark", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(benchmark, *arguments):
    return benchmark.main(["step", *map(str, arguments)])


def test_step_writes_every_contender(benchmark, tmp_path, capsys):
    out = tmp_path / "steps"
    fast = ("--repetitions", 1, "--warmup", 0, "--batch-sizes", 2)
    assert run(benchmark, "--networks", "lenet", *fast, "--out", out) == 0
    report = json.loads(out.with_suffix(".json").read_text())
    steps = {(row["method"], row["engine"]): row for row in report["steps"]}
    made_of_passes = {"spec", "frob", "loss_ibp", "pred_ibp", "at", "fast_at", "tbp", "fast_tbp"}
    for method in made_of_passes:
        assert {engine for m, engine in steps if m == method} == {"autograd", "passes"}
        assert steps[method, "passes"]["floor"] > 1
    assert steps["none", "pytorch"]["ratio"] == 1
    assert {("analytical", "pytorch"), ("jacobian_regularizer", "pytorch"), ("l2", "autograd")} < set(steps)
    assert {"git", "device", "versions", "command", "repetitions"} < set(report)
    assert out.with_suffix(".md").read_text() in capsys.readouterr().out


def test_step_refuses_what_it_cannot_time(benchmark):
    with pytest.raises(ConfigError, match="choose 1 or more"):
        run(benchmark, "--repetitions", 0)
