"""The README's Python, as it is written there."""

import re
from pathlib import Path

import pytest
import torch

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def python_of(section: str) -> str:
    """The first Python block of a section."""
    text = README.split(f"## {section}", 1)[1]
    return re.search(r"```python\n(.*?)```", text, re.DOTALL)[1]


@pytest.fixture
def example() -> dict[str, object]:
    """The names that the example in one's own training loop ends with; its network has batch norm and dropout."""
    code = python_of("The Jacobian in your own training loop")
    with_batch_norm = code.replace(
        "torch.nn.ReLU(),", "torch.nn.BatchNorm1d(64), torch.nn.ReLU(), torch.nn.Dropout(0.5),"
    )
    assert with_batch_norm != code
    names: dict[str, object] = {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        exec(with_batch_norm, names)
    return names


def test_the_library_example_runs_as_it_is_written():
    with torch.random.fork_rng(devices=[]):
        exec(python_of("The Jacobian in your own training loop"), names := {})
    assert all(p.grad.abs().sum() > 0 for p in names["net"].parameters())


def test_the_library_example_takes_one_forward_pass(example):
    net, x = example["net"], example["x"]
    norm = net[2]
    assert norm.num_batches_tracked == 1
    assert torch.allclose(norm.running_mean, 0.1 * net[1](net[0](x)).mean(0))


def test_the_library_example_has_the_shapes_that_it_says(example):
    shapes = {name: tuple(example[name].shape) for name in ("u", "g", "sigma", "loss")}
    assert shapes == {"u": (32, 10), "g": (32, 1, 28, 28), "sigma": (32,), "loss": ()}
