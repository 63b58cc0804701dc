"""The reference lists every public name, and the examples in docstrings and on the start page run."""

import doctest
import re
from importlib import import_module
from pathlib import Path

import pytest
import torch
from torch.nn.functional import cross_entropy

from jacexp.jacobian.rules import base

ROOT = Path(__file__).parents[1]
PUBLIC = ("jacexp", "jacexp.jacobian", "jacexp.methods", "jacexp.evaluate", "jacexp.models", "jacexp.data")
WITH_EXAMPLES = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in sorted((ROOT / "jacexp").rglob("*.py"))
    if ">>> " in path.read_text(encoding="utf-8")
]


def described() -> set[str]:
    """The last parts of the names that the pages of the reference describe."""
    pages = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "docs" / "api").glob("*.md"))
    errors = {name for name, error in vars(import_module("jacexp.errors")).items() if isinstance(error, type)}
    return {name.rpartition(".")[2] for name in re.findall(r"^\.\. auto\w+:: (\S+)", pages, re.M)} | errors


@pytest.mark.parametrize("package", PUBLIC)
def test_every_public_name_is_described(package):
    names = set(import_module(package).__all__) - {"__version__"}
    assert names <= described(), f"describe these in docs/api: {sorted(names - described())}"


@pytest.mark.parametrize("module", WITH_EXAMPLES)
def test_the_examples_of_docstrings_run(module, monkeypatch):
    monkeypatch.setattr(base, "RULES", dict(base.RULES))  # an example registers a rule
    result = doctest.testmod(import_module(module))
    assert result.attempted > 0
    assert result.failed == 0


def test_the_example_of_the_start_page_runs():
    page = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    net = torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.ReLU(), torch.nn.Linear(5, 4))
    names = {"net": net, "x": torch.rand(6, 3), "y": torch.randint(4, (6,)), "cross_entropy": cross_entropy}
    exec(re.search(r"```python\n(.*?)```", page, re.DOTALL)[1], names)
    assert all(p.grad is not None for p in net.parameters())
