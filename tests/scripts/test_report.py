"""scripts/report.py as a user starts it."""

import importlib.util
from pathlib import Path

import pytest

from jacexp.errors import JacexpError, StoreError
from jacexp.report.paper import EXPERIMENTS
from jacexp.report.write import write_tables
from tests.report.synthetic import Tables

PATH = Path(__file__).parents[2] / "jacexp" / "commands" / "report.py"
E = EXPERIMENTS["P2"][2]


@pytest.fixture(scope="module")
def main():
    spec = importlib.util.spec_from_file_location("report", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


@pytest.fixture
def results(tmp_path):
    """Runs of a sweep of one's own."""
    tables = Tables()
    for seed in (0, 1):
        tables.run(E, "spec", seed, lam=0.1, protocol="own", dataset="shapes")
        tables.run(E, "none", seed, protocol="own", dataset="shapes")
    return tables.write(tmp_path / "results")


def test_the_report_lies_in_the_folder_of_results_unless_it_is_said(main, results, tmp_path, capsys):
    assert main([f"paths.results={results}"]) == 0
    assert capsys.readouterr().out == f"wrote {results / 'report.html'}\n"
    out = tmp_path / "spec.html"
    assert main([f"paths.results={results}", f"out={out}", "method=spec", "by=method,lam"]) == 0
    text = out.read_text(encoding="utf-8")
    assert "<title>method=spec – jacexp</title>" in text
    assert text.count('class="run"') == 2
    assert (results / "report.html").read_text(encoding="utf-8").count('class="run"') == 4


WRONG = [
    ("foo", "cannot read the argument 'foo'"),
    ("methd=spec", "did you mean method?"),
    ("ou=a.html", "did you mean out?"),
    ("out=report.pdf", "out=report.pdf must end in .html"),
    ("out=nowhere/report.html", "is no file in a folder that exists"),
    ("method=frob", "method=frob matches no run"),
    ("versus=frob", "versus=frob is the value of no group"),
    ("reference=perhaps", "is neither true nor false"),
]


@pytest.mark.parametrize(("word", "says"), WRONG, ids=lambda text: text[:30])
def test_a_wrong_word_is_one_line_and_writes_nothing(main, results, tmp_path, monkeypatch, word, says):
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(JacexpError) as caught:
        main([f"paths.results={results}", word])
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert sorted(tmp_path.rglob("*")) == before


def test_an_empty_folder_is_one_line(main, tmp_path):
    with pytest.raises(StoreError, match="there is no result here yet"):
        main([f"paths.results={tmp_path}"])


def test_damaged_rows_are_the_one_line_that_the_tables_give(main, results):
    path = results / "runs.csv"
    path.write_text(path.read_text() + "a,b\n")
    with pytest.raises(StoreError) as told:
        write_tables(results, "holdout")
    with pytest.raises(StoreError) as caught:
        main([f"paths.results={results}"])
    assert str(caught.value) == str(told.value)
    assert not (results / "report.html").exists()
