"""What the benchmarks refuse to time."""

import runpy
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "benchmark.py"


@pytest.mark.parametrize(
    "words",
    [
        *(f"sweep --{key} 0" for key in ("networks", "repetitions", "steps", "batch-size")),
        *(f"profile --{key} 0" for key in ("networks", "steps", "batch-size")),
        "profile --device cuda",
    ],
)
def test_what_cannot_be_timed_is_one_error(monkeypatch, capsys, words):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), *words.split()])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(SCRIPT), run_name="__main__")
    assert ended.value.code == 2
    errors = capsys.readouterr().err
    assert errors.startswith("benchmark: ")
    assert len(errors.splitlines()) == 1
