"""A project of a user's own, outside of the checkout: the example's commands, and the method of docs/own.md."""

import csv
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.test_readme import OWN, block_of

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "examples" / "own_project"
TINY = "dataset.n=90 train.epochs=1 train.batch_size=20 train.device=cpu"


def in_shell(folder, commands):
    """Run shell commands in a folder as a user would, where python is this one."""
    python = f'python() {{ {sys.executable} "$@"; }}\n'
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        ["bash", "-ec", python + commands], cwd=folder, env=env, capture_output=True, text=True, check=False
    )


@pytest.fixture
def project(tmp_path):
    """A copy of the example, and its commands at a tiny size."""
    shutil.copytree(EXAMPLE, tmp_path / "project")
    commands = (EXAMPLE / "README.md").read_text().split("```")[1].strip()
    commands = commands.replace("JACEXP=../..", f"JACEXP={ROOT}").replace(
        "protocol=own", f"protocol=own {TINY}"
    )
    return tmp_path / "project", commands.replace("0.01,0.1,1 ", "0.01,0.1 ")


def test_the_example_trains_and_evaluates_outside_of_the_checkout(project):
    folder, commands = project
    ended = in_shell(folder, commands)
    assert ended.returncode == 0, ended.stderr
    slug = "stripes-stripes_resnet"
    figures = {path.name for path in (folder / "my_results" / "figures").iterdir()}
    kinds = ("curves", "grid-spec", "grid-loss_ibp", "training")
    assert figures == {f"{slug}.md", *(f"{slug}-{kind}.{end}" for kind in kinds for end in ("png", "pdf"))}
    caption = (folder / "my_results" / "figures" / f"{slug}.md").read_text()
    assert "contrast: grey + factor * (pixels - grey)" in caption
    assert "n = 2, seeds 0, 1, the best of 2 settings by validation loss. Loss IBP" in caption
    assert "python scripts/evaluate.py eval=jacobian dataset=stripes" in ended.stdout
    report = (folder / "my_results" / "report.html").read_text(encoding="utf-8")
    assert report.count('class="run"') == 8
    assert "<h3>contrast: " in report
    groups = [line.split()[:3] for line in ended.stdout.split("test accuracy, %")[1].splitlines()[1:5]]
    settings = [(method, strength) for method in ("loss_ibp", "spec") for strength in ("0.01", "0.1")]
    assert groups == [[method, strength, "2"] for method, strength in settings]
    with (folder / "my_results" / "runs.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert Counter(row["method"] for row in rows) == {"spec": 4, "loss_ibp": 4}
    assert {(row["status"], row["dataset"], row["model"]) for row in rows} == {
        ("done", "stripes", "stripes_resnet")
    }
    with (folder / "my_results" / "curves.csv").open() as file:
        measured = Counter((row["run"], row["eval"]) for row in csv.DictReader(file))
    assert measured.keys() == {
        (row["run"], name) for row in rows for name in ("white_noise", "pgd", "contrast")
    }
    assert all(n > 5 or (name == "contrast" and n == 3) for (_, name), n in measured.items())


def test_a_method_of_the_users_package_is_swept_and_says_that_it_is_not_fused(project):
    folder, commands = project
    (folder / "mypackage").mkdir()
    (folder / "mypackage" / "logit_norm.py").write_text(block_of(OWN, page="docs/own.md"))
    (folder / "conf" / "method").mkdir()
    (folder / "conf" / "method" / "logit_norm.yaml").write_text(block_of(OWN, "yaml", page="docs/own.md"))
    words = "+method=logit_norm method.lam=0.1,1 seed=0 hydra/launcher=fused -m"
    ended = in_shell(
        folder, "\n".join([*commands.splitlines()[:2], f"python $JACEXP/train.py $OURS {words}"])
    )
    assert ended.returncode == 0, ended.stderr
    assert "logit_norm has no explicit passes, so its runs are trained one by one" in ended.stdout
    assert "2 of 2 done" in ended.stdout


def test_the_users_own_part_is_under_thirty_lines():
    """Network and data; the example's evaluation comes on top."""
    files = [p for p in EXAMPLE.rglob("*") if p.suffix in (".py", ".yaml") and p.stem != "contrast"]
    lines = [line for path in files for line in path.read_text().splitlines() if line.strip()]
    assert len(files) == 3
    assert len(lines) < 30
