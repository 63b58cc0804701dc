"""The whole way, as the scripts go it: a folder of stored tables in, files out."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from jacexp.errors import StoreError
from jacexp.report.paper import EXPERIMENTS
from jacexp.report.write import MARKS, write_figures, write_files, write_tables

ROOT = Path(__file__).parents[2]
FMNIST = EXPERIMENTS["P2"][2]
STORED = {"runs.csv", "curves.csv", "timing.csv"}
TABLES = {
    f"tables/{name}.{end}" for name in ("p1-table1", "p2-table1", "robustness") for end in ("md", "tex")
}
FIGURES = {f"figures/p2-figure{number}.{end}" for number in (3, 4, 5) for end in ("png", "pdf")}

RUN = """
import runpy, sys
try:
    runpy.run_path(sys.argv.pop(1), run_name="__main__")
finally:
    loaded = [name for name in ("torch", "hydra", "pytorch_lightning") if name in sys.modules]
    assert not loaded, loaded
"""
"""Runs a script and fails if it has loaded what tables and figures must do without."""


@pytest.fixture
def results(tables, tmp_path):
    """A small folder of results with something for each kind of figure of P2."""
    for method, share in (("spec", 0.91), ("none", 0.9)):
        for seed in range(2):
            run = tables.run(
                FMNIST, method, seed, test=share + seed / 100, **({"lam": 0.1} if method == "spec" else {})
            )
            tables.curve(run, "pgd", {0: share, 10: 0.5 + seed / 10})
            tables.distance(run, {i: 1 + i / 10 for i in range(10)})
        tables.time("lenet", method, 2.0)
    return tables.write(tmp_path / "results")


def contents(folder: Path) -> dict[str, bytes]:
    """Everything that was made in a folder, by its path."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.parent.name != "samples"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files if path.name not in STORED}


def script(name: str, *words: str, seed: str = "0") -> subprocess.CompletedProcess[str]:
    """Run a script as a user does, with warnings as errors and another order of sets for another seed."""
    environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "error", "-c", RUN, str(ROOT / "scripts" / f"{name}.py"), *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_scripts_write_the_same_bytes_twice_without_torch(results):
    first = [script(name, f"paths.results={results}", seed="1") for name in ("tables", "figures")]
    assert [(done.returncode, done.stderr) for done in first] == [(0, "")] * 2
    made = contents(results)
    assert set(made) == {*TABLES, *FIGURES, "scorecard.csv", "scorecard.md", "figures/captions.md"}
    for name in made:
        (results / name).unlink()
    again = [
        script(name, "--results", str(results), "select=holdout", seed="2") for name in ("tables", "figures")
    ]
    assert contents(results) == made
    assert [done.stdout for done in again] == [done.stdout for done in first]
    assert f"wrote {results / 'scorecard.csv'}" in first[0].stdout
    assert "missing, and the command that makes it:" in first[0].stdout
    assert first[0].stdout.splitlines()[-1].startswith("scorecard: ")
    assert "    python train.py +method=spec dataset=kmnist -m" in first[0].stdout
    assert "    python scripts/evaluate.py eval=square dataset=fmnist" in first[1].stdout


@pytest.mark.parametrize("name", ["tables", "figures"])
def test_an_empty_store_is_one_line_and_nothing_is_written(tmp_path, name):
    done = script(name, f"paths.results={tmp_path / 'none'}")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: ")
    assert "no result here yet" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "none").exists()


def test_a_damaged_table_leaves_everything_as_it_was(results):
    write_tables(results, "holdout")
    before = contents(results)
    runs = results / "runs.csv"
    runs.write_text(runs.read_text().replace("val_loss", "loss", 1))
    with pytest.raises(StoreError, match="lacks the column 'val_loss' and has a foreign column 'loss'"):
        write_tables(results, "holdout")
    assert contents(results) == before


def test_selection_on_the_test_set_has_names_of_its_own(tables, tmp_path):
    run = tables.run(FMNIST, "none", 0, select="paper")
    tables.curve(run, "pgd", {0: 0.9, 1: 0.8})
    tables.write(tmp_path)
    made = [*write_tables(tmp_path, "paper")[0], *write_figures(tmp_path, "paper")[0]]
    names = {str(path.relative_to(tmp_path)) for path in made}
    assert {"tables/p2-table1-select-paper.md", "scorecard-select-paper.csv"} <= names
    assert all("-select-paper" in name for name in names)


def test_times_alone_are_a_store(tables, tmp_path):
    tables.time("lenet", "spec", 2.0)
    tables.write(tmp_path)
    assert [path.name for path in write_figures(tmp_path, "holdout")[0]] == [
        "p2-figure5.png",
        "p2-figure5.pdf",
        "captions.md",
    ]
    assert write_tables(tmp_path, "holdout")[1]


def test_a_folder_that_cannot_be_written_is_one_clear_error(tmp_path):
    (tmp_path / "tables").write_text("a file where a folder has to be")
    with pytest.raises(StoreError, match=r"cannot be written.*paths\.results=DIR"):
        write_files(tmp_path, {"tables/a.md": b"text"})


def test_the_outcome_of_the_reference_stands_in_the_readme_beside_it_between_its_marks(results, monkeypatch):
    readme = results.parent / "README.md"
    first, last = MARKS
    readme.write_text(f"before\n{first}\nold\n{last}\nafter\n")
    assert readme not in write_tables(results, "holdout").files
    monkeypatch.setattr("jacexp.store.folders.REFERENCE", results)
    assert readme in write_tables(results, "holdout").files
    text = readme.read_text()
    assert text.startswith(f"before\n{first}\n\nScorecard: ")
    assert text.endswith(f"the commands.\n\n{last}\nafter\n")
    assert "old" not in text
    write_tables(results, "holdout")
    assert readme.read_text() == text
    readme.write_text("no marks\n")
    assert readme not in write_tables(results, "holdout").files
    assert readme.read_text() == "no marks\n"


def test_a_selection_on_the_test_set_leaves_the_readme_alone(tables, tmp_path, monkeypatch):
    monkeypatch.setattr("jacexp.store.folders.REFERENCE", tmp_path / "results")
    tables.run(FMNIST, "none", 0, select="paper")
    (tmp_path / "README.md").write_text("\n".join(MARKS))
    write_tables(tables.write(tmp_path / "results"), "paper")
    assert (tmp_path / "README.md").read_text() == "\n".join(MARKS)
