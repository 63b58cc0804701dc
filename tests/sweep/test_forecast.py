"""What a sweep would train, told beforehand: nothing is started and nothing written."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from jacexp.sweep.engine import plan
from jacexp.sweep.forecast import forecast, stored_rates
from tests.sweep.test_engine import SHORT

ROOT = Path(__file__).parents[2]


def table(path, *rows):
    lines = ["model,method,dataset,n_train,n_epochs,train_s", *rows]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_rates_are_medians_over_the_runs_that_have_times(tmp_path):
    own = table(
        tmp_path / "own.csv",
        "lenet,spec,digits,10,2,40",
        "lenet,spec,digits,10,2,80",
        "lenet,spec,digits,10,2,",
    )
    other = table(tmp_path / "other.csv", "lenet,spec,digits,10,1,100", "mlp,none,digits,0,1,5", "mlp,none")
    assert stored_rates([own, other, tmp_path / "none.csv"]) == {("lenet", "spec", "digits"): 4}
    other.write_bytes(b"\xff\xfe")
    assert stored_rates([other]) == {}


def test_each_missing_run_is_told_once_with_its_time(configure):
    words = [*SHORT, "train.epochs=3"]
    jobs = [(w, configure(*words, w)) for w in ("seed=0", "seed=1", "seed=1", "seed=2", "train.lr=-1")]
    entries = plan(jobs)
    entries[0].before = 1
    entries[3].run.path.mkdir(parents=True)
    n = entries[0].job.counts[0]
    told = list(forecast(entries, {("lenet", "none", "digits"): 60 / n}))
    assert [line.partition("(")[2] for line in told[:-1]] == [
        "seed=0): about 2 min",
        "seed=1): about 3 min",
        "seed=2): about 3 min",
    ]
    assert told[-1] == (
        "3 runs to train; 0 of 5 jobs are over; 1 cannot be run; about 8 min one after another, by the stored times of "
        "runs like them; nothing was started"
    )
    assert "3 of unknown length; nothing was started" in list(forecast(entries, {}))[-1]


@pytest.mark.parametrize("words", [("seed=0,1",), ("grid=null",), ("grid=null", "hydra/launcher=processes")])
def test_dry_starts_and_writes_nothing(tmp_path, words):
    command = [sys.executable, str(ROOT / "train.py"), "+method=spec", "-m", "--dry", *words]
    ended = subprocess.run(
        command,
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    n = 1 if words[0] == "grid=null" else 2 * 4 * 2 * 2
    assert f"{n} run{'s' * (n > 1)} to train; 0 of {n} jobs are over" in ended.stdout
    assert not list(tmp_path.iterdir())
