"""A user's results beside the reference: one run once, the user's marked, the reference never touched."""

import shutil

import pytest

from jacexp.errors import StoreError
from jacexp.report.arguments import run
from jacexp.report.beside import marked, read_results
from jacexp.report.markup import Document, Section
from jacexp.report.paper import EXPERIMENTS
from jacexp.report.schema import read_store
from jacexp.report.write import write_figures, write_tables
from jacexp.results import load
from tests.report.synthetic import Tables

FMNIST = EXPERIMENTS["P2"][2]


def grown(n, **others):
    """The runs of spec and none with so many seeds, and their curves; the same seeds have the same names."""
    tables = Tables()
    for seed in range(n):
        for method, share in (("spec", 0.91), ("none", 0.9)):
            lam = {"lam": 0.1} if method == "spec" else {}
            run_ = tables.run(FMNIST, method, seed, test=share + seed / 1000, **lam, **others)
            tables.curve(run_, "pgd", {0: share, 10: 0.5})
    return tables


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """A reference of two seeds and a user's folder, not made yet; both in their default places."""
    reference = grown(2).write(tmp_path / "results")
    for module in ("store.folders", "report.beside", "results"):
        monkeypatch.setattr(f"jacexp.{module}.REFERENCE", reference)
    monkeypatch.chdir(tmp_path)
    return reference, tmp_path / "my_results"


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_without_runs_of_the_users_everything_is_that_of_the_reference(folders):
    reference, own = folders
    write_tables(reference, "holdout")
    made = write_tables(own, "holdout", reference)
    for name in ("tables/p2-table1.md", "tables/robustness.tex", "scorecard.md"):
        assert (own / name).read_bytes() == (reference / name).read_bytes()
    assert "with your runs" not in made.outcome


def test_a_users_runs_are_rows_of_their_own_and_the_reference_stays(folders):
    reference, own = folders
    tables = grown(3)
    tables.runs, tables.curves = tables.runs[4:], tables.curves[8:]
    tables.run(FMNIST, "mine", 0, run="a" * 12, lam=0.1, test=0.95)
    tables.write(own)
    before = contents(reference)
    assert run(write_tables, []) == 0
    assert run(write_figures, []) == 0
    assert contents(reference) == before
    text = (own / "tables" / "p2-table1.md").read_text()
    rows = {line.split("|")[1].strip(): line.split("|")[3:5] for line in text.splitlines() if "|" in line}
    assert rows["`spec`"] == [" 91.05 ± 0.07 ", " 2 of 5 "]
    assert rows["`spec` (with yours)"] == [" 91.10 ± 0.10 ", " 3 of 5, 1 yours "]
    assert rows["`mine` (yours)"] == [" 95.00 ", " 1 of 5, 1 yours "]
    assert "Rows of the reference are as they are without your runs." in text
    assert "spec 3 (1 yours)" in (own / "figures" / "captions.md").read_text()


def test_a_run_that_is_in_both_counts_once_and_as_the_users_with_its_curves(folders):
    reference, own = folders
    tables = grown(1, train_s=1.0)
    tables.curves = []
    tables.write(own)
    store = read_results(own, reference)
    assert store.runs["run"].is_unique
    assert len(store.runs) == 4
    both = store.runs[store.runs["run"].isin(store.yours)]
    assert both["train_s"].tolist() == [1.0, 1.0]
    assert not store.curves["run"].isin(store.yours).any()
    assert sum("is in both folders; yours counts" in note for note in store.notes) == 2


def test_a_copy_of_the_reference_changes_nothing(folders):
    """A benchmark's run or a curve that counted twice would make intervals narrower, and verdicts of doubts."""
    reference, own = folders
    tables = grown(2)
    for method in ("spec", "none"):
        tables.time("lenet", method, 2.0)
        tables.time("lenet", method, 2.2)
    shutil.copytree(tables.write(reference), own)
    alone = read_store(reference)
    whole = read_results(own, reference)
    (own / "runs.csv").unlink()
    for store in (whole, read_results(own, reference)):
        assert len(store.runs) == len(alone.runs) == 4
        assert len(store.curves) == len(alone.curves) == 8
        assert len(store.timing) == len(alone.timing) == 4


def test_the_same_settings_under_two_names_count_once(folders):
    reference, own = folders
    tables = Tables()
    tables.run(FMNIST, "none", 0, run="f" * 12, started="2026-01-01T00:00:00+00:00")
    store = read_results(tables.write(own), reference)
    seeds = store.runs.loc[store.runs["method"] == "none", ["run", "seed"]].to_numpy().tolist()
    assert sorted(seed for _, seed in seeds) == [0, 1]
    assert ["f" * 12, 0] in seeds


@pytest.mark.parametrize("table", ["runs", "curves", "timing"])
def test_a_users_damaged_table_is_left_out_and_the_reference_shown(folders, capsys, table):
    reference, own = folders
    grown(3).write(own)
    (own / f"{table}.csv").write_text("a,b\n")
    write_tables(reference, "holdout")
    assert run(write_tables, []) == 1
    assert (own / "tables/p2-table1.md").read_bytes() == (reference / "tables/p2-table1.md").read_bytes()
    said = capsys.readouterr().err
    assert "warning: your results are left out: " in said
    assert f"{table}.csv" in said
    with pytest.raises(StoreError, match=f"{table}.*reads the reference alone"):
        load()
    assert len(load(reference).runs) == 4


def test_a_damaged_file_of_distances_is_named_and_the_reference_drawn(folders, capsys):
    _, own = folders
    tables = grown(1)
    tables.distance(tables.runs[0], {0: 1.0})
    path = tables.write(own) / "samples" / f"boundary-{tables.runs[0]['run']}.csv.gz"
    path.write_bytes(path.read_bytes()[:20])
    assert run(write_figures, []) == 1
    assert f"warning: your results are left out: my_results/samples/{path.name}" in capsys.readouterr().err
    assert (own / "figures" / "p2-figure3.png").exists()


def test_a_damaged_reference_is_an_error(folders):
    reference, own = folders
    grown(3).write(own)
    (reference / "runs.csv").write_text("a,b\n")
    with pytest.raises(StoreError, match="lacks the column"):
        read_results(own, reference)


def test_load_says_whose_each_row_is(folders):
    reference, own = folders
    tables = grown(3)
    tables.runs, tables.curves = tables.runs[4:], tables.curves[8:]
    tables.write(own)
    for table in load():
        assert table.groupby("source")["run"].nunique().to_dict() == {"reference": 4, "yours": 2}
    assert set(load(own).runs["source"]) == {"yours"}
    assert set(load(reference).runs["source"]) == {"reference"}


def test_rows_and_sections_of_a_document_are_marked_where_they_differ():
    def document(*sections):
        return Document("title", ("read this",), tuple(Section(*s) for s in sections))

    head = ("what", "n", "hours missing")
    before = document(("a", head, (("x", "1", "9"), ("y", "1", "9"))), ("b", head, (("x", "1", "9"),)))
    same = document(("a", head, (("x", "1", "5"), ("y", "1", "9"))), ("b", head, (("x", "1", "9"),)))
    assert marked(before, same) == before
    other = document(
        ("a", head, (("x", "2", "9"), ("y", "1", "9"), ("z", "1", "9"))),
        ("b", (*head, "more"), (("x", "1", "9", "4"),)),
        ("c", head, (("x", "1", "9"),)),
    )
    first, *rest = marked(before, other).sections
    assert [row[:2] for row in first.rows] == [
        ("x", "1"),
        ("x (with yours)", "2"),
        ("y", "1"),
        ("z (yours)", "1"),
    ]
    assert [section.title for section in rest] == ["b", "b (with yours)", "c (yours)"]
