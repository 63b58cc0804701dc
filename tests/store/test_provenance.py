"""A result names the code that made it: the checkout whose script was started, and its commit."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from jacexp.store import provenance

ROOT = Path(__file__).parents[2]
GIT = ("git", "-c", "user.name=n", "-c", "user.email=e@e", "-c", "commit.gpgsign=false")


def git(*words, cwd):
    return subprocess.run([*GIT, *words], cwd=cwd, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def checkout(tmp_path):
    """A repository with the module in it, and a function that asks the module afresh."""
    package = tmp_path / "repository" / "jacexp" / "store"
    package.mkdir(parents=True)
    path = package / "provenance.py"
    path.write_text(Path(provenance.__file__).read_text())
    root = package.parents[1]
    (root / "results").mkdir()
    (root / "results" / "runs.csv").write_text("run\n")
    git("init", cwd=root)
    git("add", ".", cwd=root)
    git("commit", "-m", "first", cwd=root)
    return path, lambda: load(path).git_revision()


def load(path):
    spec = importlib.util.spec_from_file_location("another_provenance", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_revision_is_that_of_the_package_s_own_checkout(checkout, monkeypatch, tmp_path):
    path, revision = checkout
    monkeypatch.chdir(tmp_path)
    commit = git("rev-parse", "HEAD", cwd=path.parent)
    (path.parent / "untracked").write_text("")
    (path.parents[2] / "results" / "runs.csv").write_text("run\nanother\n")
    assert revision() == commit, "a run's row in a table changes no number"
    path.write_text(path.read_text() + "\n")
    assert revision() == commit + "+"


def test_a_repository_around_an_installed_package_is_not_its_own(checkout):
    path, _ = checkout
    installed = path.parents[2] / "site-packages" / "jacexp" / "store" / "provenance.py"
    installed.parent.mkdir(parents=True)
    installed.write_text(path.read_text())
    assert load(installed).git_revision() == ""


def test_every_script_runs_the_checkout_that_it_lies_in(tmp_path):
    """Copies of the scripts beside another ``jacexp``, which only says that it is the one."""
    package = tmp_path / "jacexp" / "__init__.py"
    package.parent.mkdir()
    package.write_text("raise SystemExit('the copy beside the script')")
    (tmp_path / "scripts").mkdir()
    scripts = sorted((ROOT / "scripts").glob("*.py"))
    started = {}
    for script in [*scripts, ROOT / "train.py"]:
        copy = tmp_path / script.relative_to(ROOT)
        copy.write_text(script.read_text())
        started[script.name] = subprocess.Popen(
            [sys.executable, str(copy)],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},  # as if this checkout were installed
            stderr=subprocess.PIPE,
            text=True,
        )
    said = {name: process.communicate()[1].strip() for name, process in started.items()}
    assert said == dict.fromkeys(said, "the copy beside the script")
    assert len(said) > 5
