"""``runs.csv`` is made from the results: each run once, whoever merges it, however often and whatever broke before."""

import subprocess
import sys
from pathlib import Path

import pytest

from jacexp.errors import StoreError
from jacexp.store import merge
from jacexp.store.merge import merge_runs
from jacexp.store.runs import RunDirectory, write_json
from jacexp.store.tables import RUNS, append_rows
from tests.faults import fill_disk
from tests.results import result, rows

IDS = [f"{n:012x}" for n in range(5)]


@pytest.fixture
def results(tmp_path):
    for run in IDS:
        add(tmp_path, run)
    return tmp_path


def add(results, run, *args, **row):
    directory = RunDirectory(results / "runs" / run)
    directory.path.mkdir(parents=True, exist_ok=True)
    write_json(directory / "result.json", result(run, *args, **row))
    return directory


def content(results):
    return (results / "runs.csv").read_bytes()


def test_merging_twice_changes_nothing(results):
    assert merge_runs(results) == []
    before, stat = content(results), (results / "runs.csv").stat()
    assert [row["run"] for row in rows(results)] == IDS
    merge_runs(results)
    merge_runs(results, [RunDirectory(results / "runs" / IDS[2])])
    assert content(results) == before
    assert (results / "runs.csv").stat().st_mtime_ns == stat.st_mtime_ns, "nor is it written"


def test_one_run_is_merged_without_a_look_at_the_others(results, monkeypatch):
    seen, read = [], RunDirectory.result
    monkeypatch.setattr(RunDirectory, "result", lambda self: seen.append(self.id) or read(self))
    merge_runs(results, [RunDirectory(results / "runs" / IDS[3])])
    assert seen == [IDS[3]]
    assert [row["run"] for row in rows(results)] == [IDS[3]]
    merge_runs(results)
    assert sorted(row["run"] for row in rows(results)) == IDS, "and the others follow"


def test_rows_of_runs_that_are_gone_stay_to_the_byte(results):
    merge_runs(results)
    # Within the quotes a line begins as the record of another run does.
    gone = (
        b'gone,"of another\n' + IDS[1].encode() + b', and a ""quote""",' + b"," * (len(RUNS) - 3) + b"now\r\n"
    )
    (results / "runs.csv").write_bytes(content(results) + gone)
    add(results, IDS[1], lam=0.25)
    merge_runs(results)
    assert content(results).endswith(gone)
    assert [row["lam"] for row in rows(results)[:3]] == ["0.5", "0.25", "0.5"]


def test_a_run_that_ended_again_has_the_row_of_its_last_end(results):
    """Also where an earlier version left a row for each."""
    add(results, IDS[1], "failed", "out of luck")
    merge_runs(results)
    append_rows(results / "runs.csv", [result(IDS[1])["row"]], RUNS)
    add(results, IDS[1], train_s=7.0)
    merge_runs(results)
    assert [row["run"] for row in rows(results)] == IDS
    assert (rows(results)[1]["status"], rows(results)[1]["train_s"]) == ("done", "7.0")


def test_a_damaged_result_is_named_and_its_row_stays(results):
    merge_runs(results)
    (results / "runs" / IDS[0] / "result.json").write_text("{")
    (results / "runs" / "unfinished").mkdir()
    add(results, "abcdefabcdef")
    (error,) = merge_runs(results)
    assert f"{IDS[0]}/result.json is damaged" in str(error)
    assert [row["run"] for row in rows(results)] == [*IDS, "abcdefabcdef"]


def test_a_row_that_was_cut_short_is_made_good(results):
    merge_runs(results)
    whole = content(results)
    for missing in (1, 30, len(whole) - 5):
        (results / "runs.csv").write_bytes(whole[:-missing])
        if missing == len(whole) - 5:
            (results / "runs.csv").unlink()
        merge_runs(results)
        assert content(results) == whole


@pytest.mark.parametrize("change", ["another run", "another row"])
def test_a_full_disk_leaves_the_table_as_it_was(results, monkeypatch, change):
    merge_runs(results)
    before = content(results)
    add(results, "abcdefabcdef" if change == "another run" else IDS[0], lam=0.125)
    with monkeypatch.context() as patch:
        fill_disk(patch)
        with pytest.raises(StoreError, match=r"runs\.csv cannot be written .*No space.*make room"):
            merge_runs(results)
    assert content(results) == before
    assert not list(results.glob("*.partial")) + list(results.glob(".*.partial"))
    merge_runs(results)
    assert "0.125" in {row["lam"] for row in rows(results)}


def test_a_table_of_other_columns_is_refused(results):
    (results / "runs.csv").write_text("run,accuracy\n")
    with pytest.raises(StoreError, match=r"has the columns .*; move it away"):
        merge_runs(results)
    assert content(results) == b"run,accuracy\n"


def test_without_runs_nothing_is_written(tmp_path):
    assert merge_runs(tmp_path) == []
    assert not list(tmp_path.iterdir())


def test_many_processes_at_once(results):
    code = f"""
from pathlib import Path
from jacexp.store.merge import merge_runs
from jacexp.store.runs import RunDirectory
for run in {IDS}:
    merge_runs(Path({str(results)!r}), [RunDirectory(Path({str(results)!r}) / "runs" / run)])
    merge_runs(Path({str(results)!r}))
"""
    root = Path(merge.__file__).parents[2]
    started = [subprocess.Popen([sys.executable, "-c", code], cwd=root) for _ in range(4)]
    assert [process.wait(60) for process in started] == [0] * 4
    assert sorted(row["run"] for row in rows(results)) == IDS
