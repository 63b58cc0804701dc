"""scripts/summarize.py as a user starts it: filters, groups, files."""

import csv
import importlib.util
import json
from pathlib import Path

import pytest

from jacexp.errors import JacexpError, StoreError
from jacexp.report.paper import EXPERIMENTS
from tests.report.synthetic import Tables

PATH = Path(__file__).parents[2] / "jacexp" / "commands" / "summarize.py"
OWN = {"protocol": "own", "dataset": "shapes", "model": "net"}
E = EXPERIMENTS["P2"][2]


@pytest.fixture
def main():
    spec = importlib.util.spec_from_file_location("summarize", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


@pytest.fixture
def start(main, tables_of_own):
    return lambda *words: main([*words, f"paths.results={tables_of_own}"])


@pytest.fixture
def tables_of_own(tmp_path):
    """Runs of a network and data of one's own, by two methods."""
    tables = Tables()
    for seed in (0, 1):
        for width in (8, 16):
            options = json.dumps({"model.width": width, "detach": width == 8})
            tables.run(E, "spec", seed, lam=0.1, test=0.7 + width / 100 + seed / 50, options=options, **OWN)
        tables.run(E, "none", seed, test=0.7, **OWN)
    return tables.write(tmp_path / "results")


def test_filters_and_groups_are_any_columns(start, capsys):
    assert start("method=spec", "by=model.width") == 0
    heading, *rows = capsys.readouterr().out.splitlines()
    assert heading.split()[:2] == ["model.width", "n"]
    assert [row.split()[:4] for row in rows[:2]] == [["8", "2", "79.00", "±"], ["16", "2", "87.00", "±"]]
    start("method.detach=true", "lam=1e-1")
    assert capsys.readouterr().out.splitlines()[1].split()[:6] == [
        "shapes",
        "net",
        "spec",
        "0.1",
        "2",
        "79.00",
    ]
    start("lam=null", "by=method")
    assert capsys.readouterr().out.splitlines()[1].split()[:3] == ["none", "2", "70.00"]


def test_numbers_go_into_a_csv_file_and_tables_into_tex_and_markdown(start, tmp_path, capsys):
    words = ("by=method,model.width", "versus=none")
    for name in ("t.csv", "t.tex", "t.md"):
        assert start(*words, f"out={tmp_path / name}") == 0
        assert capsys.readouterr().out == f"wrote {tmp_path / name}\n"
    with (tmp_path / "t.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["model.width"], float(row["difference"] or 0)) for row in rows[1:]] == [
        ("8", pytest.approx(9)),
        ("16", pytest.approx(17)),
    ]
    assert r"\begin{tabular}" in (tmp_path / "t.tex").read_text()
    assert "| spec | 16 | 2 | 87.00 ± 1.41 |" in (tmp_path / "t.md").read_text()


WRONG = [
    ("foo", "cannot read the argument 'foo'"),
    ("by=", "cannot read the argument 'by='"),
    ("by=method by=lam", "by is given twice, as method and as lam"),
    ("by=methd", "'methd' is no setting and no column of the runs (did you mean method?)"),
    ("by=method,", "'' is no setting and no column"),
    ("by=method,method", "by=method,method names a column twice"),
    ("by=width", "did you mean model.width?"),
    ("versu=none", "did you mean versus?"),
    ("versus=frob", "versus=frob is the value of no group"),
    (
        "by=method versus=none",
        "method spec has several of seed 0; add what tells them apart to by=: method.detach, model.width",
    ),
    ("method=nnone", "method=nnone matches no run"),
    ("method=none lam=0.1", "matches method=none lam=0.1 all at once"),
    ("method.detach=1", "method.detach=1 matches no run"),
    ("out=t.xlsx", "out=t.xlsx must end in one of .csv, .tex, .md"),
    ("out=nowhere/t.csv", "out=nowhere/t.csv is no file in a folder that exists"),
]


@pytest.mark.parametrize(("words", "says"), WRONG, ids=lambda text: text[:30])
def test_a_wrong_command_line_is_one_line_and_writes_nothing(
    start, tmp_path, monkeypatch, capsys, words, says
):
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(JacexpError) as caught:
        start(*words.split())
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert capsys.readouterr().out == ""
    assert sorted(tmp_path.rglob("*")) == before


def test_a_store_without_runs_is_one_clear_error(main, tmp_path):
    tables = Tables()
    tables.time("lenet", "spec", 2.0)
    with pytest.raises(StoreError, match="has no run; train one first"):
        main([f"paths.results={tables.write(tmp_path)}"])


def test_help_is_printed_and_nothing_read(main, capsys):
    assert main(["--help", "paths.results=nowhere"]) == 0
    assert "by=A,B" in capsys.readouterr().out
