import gzip
import json

import pytest

from jacexp.errors import StoreError
from jacexp.report.paper import EXPERIMENTS
from jacexp.report.schema import read_store, read_table
from jacexp.store.tables import CURVES, RUNS, TIMING

FMNIST = EXPERIMENTS["P2"][2]


@pytest.fixture
def folder(tables, tmp_path):
    for seed in range(3):
        run = tables.run(FMNIST, "none", seed, test=0.9 + seed / 100)
        tables.curve(run, "pgd", {0: 0.9, 1: 0.8})
    tables.time("lenet", "spec", 2.0)
    return tables.write(tmp_path)


def damage(path, change):
    text = path.read_text(encoding="utf-8")
    path.write_text(change(text), encoding="utf-8")
    assert path.read_text(encoding="utf-8") != text


def test_values_have_their_types(folder):
    store = read_store(folder)
    assert store.runs["n_test_correct"].tolist() == [9000, 9100, 9200]
    assert store.runs["lam"].isna().all()
    assert store.runs["run"].tolist() == ["000000000000", "000000000001", "000000000002"], (
        "text, whatever the digits"
    )
    assert store.runs["method"].tolist() == ["none"] * 3
    assert store.notes == ()


@pytest.mark.parametrize("name", ["runs", "curves", "timing"])
def test_a_table_that_is_not_there_is_empty(folder, name):
    (folder / f"{name}.csv").unlink()
    table = getattr(read_store(folder), name)
    assert table.empty
    assert set(table.columns) == set({"runs": RUNS, "curves": CURVES, "timing": TIMING}[name])


def test_an_empty_store_is_one_clear_error(tmp_path, tables):
    for folder in (tmp_path / "nowhere", tables.write(tmp_path / "headers")):
        with pytest.raises(StoreError, match=r"no result here yet.*train\.py"):
            read_store(folder)
    (tmp_path / "headers" / "runs.csv").write_text("")
    with pytest.raises(StoreError, match=r"runs\.csv: the file is empty, without even a header"):
        read_store(tmp_path / "headers")


@pytest.mark.parametrize("name", ["runs", "curves", "timing"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace("method,", "", 1), "lacks the column 'method'|values, or none"),
        (
            lambda text: text.replace("method,", "methods,", 1),
            "lacks the column 'method' and has a foreign column",
        ),
        (lambda text: text.replace(",started", ",started,mine", 1), "has a foreign column 'mine'"),
        (lambda text: text.replace("method,", "model,", 1), "lacks the column 'method'"),
        (lambda text: text.replace("started", "git", 1), "lacks the column 'started'"),
        (lambda text: text[:-1], "ends within a row"),
        (lambda text: text[:-40], "ends within a row"),
        (lambda text: text[: text.rindex(",") + 1] + "\n", "none for 'started'"),
        (lambda text: text[: text.rindex(",")] + "\n", "values, or none"),
        (lambda text: text[: text.rindex('"')] + "\n", "not a CSV file"),
    ],
)
def test_a_damaged_table_is_named_with_the_reason(folder, name, change, message):
    path = folder / f"{name}.csv"
    damage(path, change)
    with pytest.raises(StoreError, match=message) as caught:
        read_store(folder)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("n_test_correct", "many", "row 3: n_test_correct = 'many' is not a whole number"),
        ("n_test_correct", "1.5", "is not a whole number"),
        ("val_loss", "low", "val_loss = 'low' is not a number"),
        ("run", "", "run = '' must not be empty"),
        ("status", "running", "unknown status 'running'"),
    ],
)
def test_a_value_of_another_type_is_named_with_its_row(tables, tmp_path, column, value, message):
    tables.run(FMNIST, "none", 0)
    tables.run(FMNIST, "none", 1, **{column: value})
    with pytest.raises(StoreError, match=message):
        read_store(tables.write(tmp_path))


def test_not_a_number_is_a_number_that_diverged(tables, tmp_path):
    tables.run(FMNIST, "none", 0, val_loss="nan", test_loss="inf")
    runs = read_store(tables.write(tmp_path)).runs
    assert runs["val_loss"].isna().all()
    assert runs["test_loss"].tolist() == [float("inf")]


def test_bytes_that_are_no_text_are_one_clear_error(folder):
    (folder / "runs.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(StoreError, match=r"runs\.csv: cannot be read"):
        read_store(folder)


def test_the_last_row_of_a_run_counts_and_the_store_says_so(tables, tmp_path):
    first = tables.run(FMNIST, "none", 0, test=0.5)
    tables.run(FMNIST, "none", 1, test=0.6)
    tables.run(FMNIST, "none", 0, test=0.7, run=first["run"])
    store = read_store(tables.write(tmp_path))
    assert dict(zip(store.runs["seed"], store.runs["n_test_correct"], strict=True)) == {1: 6000, 0: 7000}
    assert store.notes == ("run 000000000000 is stored 2 times; the last row counts",)


def test_of_two_runs_with_the_same_settings_the_later_counts(tables, tmp_path):
    tables.run(FMNIST, "none", 0, test=0.7, started="2025-01-03T00:00:00+00:00")
    tables.run(FMNIST, "none", 0, test=0.5, started="2025-01-02T00:00:00+00:00")
    store = read_store(tables.write(tmp_path))
    assert store.runs["n_test_correct"].tolist() == [7000]
    assert "run 000000000001 has the settings and seed of run 000000000000" in store.notes[0]


def test_of_two_rows_of_one_point_the_last_counts(tables, tmp_path):
    run = tables.run(FMNIST, "none", 0)
    tables.curve(run, "pgd", {1: 0.8})
    tables.curve(run, "pgd", {1: 0.7})
    assert read_store(tables.write(tmp_path)).curves["n_correct"].tolist() == [7000]


def test_distances_are_read_and_checked(tables, tmp_path):
    run = tables.run(FMNIST, "none", 0)
    tables.distance(run, {0: 1.5, 7: float("inf")})
    store = read_store(tables.write(tmp_path))
    assert store.distances("elsewhere") is None
    table = store.distances(run["run"])
    assert dict(zip(table["index"], table["distance"], strict=True)) == {0: 1.5, 7: float("inf")}

    path = store.distances_path(run["run"])
    whole = path.read_bytes()
    path.write_bytes(whole[:-9])
    with pytest.raises(StoreError, match="cannot be read"):
        store.distances(run["run"])
    path.write_bytes(gzip.compress(b"index,distance,found\n0,1.5,1\n0,2.5,1\n"))
    with pytest.raises(StoreError, match="named twice"):
        store.distances(run["run"])
    path.write_bytes(gzip.compress(b"index,distance\n0,1.5\n"))
    with pytest.raises(StoreError, match="lacks the column 'found'"):
        store.distances(run["run"])


def test_json_with_commas_and_quotes_survives(tables, tmp_path):
    options = json.dumps({"a": 'b, "c"'})
    tables.run(FMNIST, "none", 0, data=options)
    path = tables.write(tmp_path) / "runs.csv"
    assert read_table(path, RUNS)["data"].tolist() == [options]
