"""A sweep's end brings runs.csv up to date."""

from jacexp.store.runs import write_json
from tests.launchers.command import sweep
from tests.results import result, rows


def test_a_sweep_adds_the_rows_that_runs_left_out(tmp_path):
    """Those of other sweeps too; a result that cannot be read is named and hinders nobody."""
    for name in ("0123456789ab", "ba9876543210"):
        (tmp_path / "runs" / name).mkdir(parents=True)
        write_json(tmp_path / "runs" / name / "result.json", result("0123456789ab"))
    status, said = sweep("train.epochs=1", "seed=0,1", results=tmp_path)
    assert status == 0, said
    assert "0123456789ab" in {row["run"] for row in rows(tmp_path)}
    assert len(rows(tmp_path)) == 3
    assert said.count("warning: ") == 1
    assert "ba9876543210/result.json is of run 0123456789ab" in said
