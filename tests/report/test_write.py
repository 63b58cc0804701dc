"""The whole way, as the scripts go it: folders in, files out."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jacexp.errors import StoreError
from jacexp.report.write import write_figures, write_files, write_tables

ROOT = Path(__file__).parents[2]
TABLES = {
    f"tables/{name}.{end}" for name in ("p1-table1", "p2-table1", "robustness") for end in ("md", "tex")
}


def contents(folder: Path) -> dict[str, bytes]:
    """Everything that a script made, by its path."""
    stored = {"runs.csv", "curves.csv", "timing.csv"}
    files = [path for path in folder.rglob("*") if path.is_file() and path.name not in stored]
    return {
        str(path.relative_to(folder)): path.read_bytes() for path in files if path.parent.name != "samples"
    }


@pytest.fixture
def copy(ideal_folder, tmp_path) -> Path:
    return Path(shutil.copytree(ideal_folder, tmp_path / "results"))


def script(name: str, *words: str, seed: str = "0") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "error", str(ROOT / "scripts" / f"{name}.py"), *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_the_tables_and_the_scorecard_are_written(copy):
    written, missing = write_tables(copy, "holdout")
    assert {str(path.relative_to(copy)) for path in written} == {*TABLES, "scorecard.csv", "scorecard.md"}
    assert (
        "spec on kmnist: 15 settings of the grid",
        "python train.py +method=spec dataset=kmnist -m",
    ) in missing


def test_selection_on_the_test_set_has_names_of_its_own(tables, tmp_path):
    from jacexp.report.paper import EXPERIMENTS

    run = tables.run(EXPERIMENTS["P2"][2], "none", 0, select="paper")
    tables.curve(run, "pgd", {0: 0.9, 1: 0.8})
    tables.write(tmp_path)
    names = {str(path.relative_to(tmp_path)) for path in write_tables(tmp_path, "paper")[0]}
    assert "tables/p2-table1-select-paper.md" in names
    assert "scorecard-select-paper.csv" in names
    assert all("-select-paper" in str(path) for path in write_figures(tmp_path, "paper")[0])


def test_scripts_give_the_same_bytes_twice_and_import_no_torch(copy):
    start = time.monotonic()
    first = [script(name, f"paths.results={copy}", seed="1") for name in ("tables", "figures")]
    assert time.monotonic() - start < 60, "30 seconds each"
    assert [(done.returncode, done.stderr) for done in first] == [(0, "")] * 2
    made = contents(copy)
    assert len([name for name in made if name.startswith("figures/")]) == 2 * 6 + 1
    assert set(made) >= TABLES
    for name in made:
        (copy / name).unlink()
    for name in ("tables", "figures"):
        assert script(name, "--results", str(copy), seed="2").returncode == 0
    assert contents(copy) == made


def test_scripts_import_no_torch(copy):
    code = (
        "import sys; sys.argv[1:] = []; from pathlib import Path; from jacexp.report.write import *;"
        f"write_tables(Path({str(copy)!r}), 'holdout'); from jacexp.report import figures;"
        "sys.exit(sorted(m for m in ('torch', 'hydra', 'pytorch_lightning') if m in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stderr.strip() == "[]"


@pytest.mark.parametrize("name", ["tables", "figures"])
def test_an_empty_store_is_one_line_and_nothing_is_written(tmp_path, name):
    done = script(name, f"paths.results={tmp_path / 'none'}")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: ")
    assert "no result here yet" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "none").exists()


def test_a_damaged_table_leaves_what_was_written_before(copy):
    write_tables(copy, "holdout")
    before = contents(copy)
    runs = copy / "runs.csv"
    runs.write_text(runs.read_text().replace("val_loss", "loss", 1))
    with pytest.raises(StoreError, match="lacks the column 'val_loss' and has a foreign column 'loss'"):
        write_tables(copy, "holdout")
    assert contents(copy) == before


def test_what_is_written_and_missing_is_printed(copy):
    done = script("tables", f"paths.results={copy}", "select=holdout")
    assert f"wrote {copy / 'scorecard.csv'}" in done.stdout
    assert "missing, and the command that makes it:" in done.stdout
    assert "    python train.py +method=spec dataset=kmnist -m" in done.stdout


def test_a_folder_that_cannot_be_written_is_one_clear_error(tmp_path):
    (tmp_path / "tables").write_text("a file where a folder has to be")
    with pytest.raises(StoreError, match=r"cannot be written.*paths\.results=DIR"):
        write_files(tmp_path, {"tables/a.md": b"text"})
