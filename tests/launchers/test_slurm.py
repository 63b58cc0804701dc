"""submitit_slurm on a real Slurm, of one node: see slurm.sh beside this file; and submitit's jobs of this machine."""

import importlib.util
import shutil
import subprocess

import pytest

from tests.launchers.command import end, n_epochs, start, sweep, wait_for
from tests.results import rows

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not importlib.util.find_spec("submitit"), reason='needs pip install "jacexp[slurm]"'),
]
SLURM = ("hydra/launcher=submitit_slurm", "hydra.launcher.cpus_per_task=1")


def slurm(*command):
    return subprocess.run(command, capture_output=True, text=True, check=False)


needs_slurm = pytest.mark.skipif(
    not shutil.which("sbatch") or slurm("sinfo").returncode != 0,
    reason="needs a Slurm cluster: tests/launchers/slurm.sh start",
)


def test_jobs_of_this_machine_train_a_sweep(tmp_path):
    status, output = sweep("hydra/launcher=submitit_local", "train.epochs=1", "seed=0,1", results=tmp_path)
    assert status == 0, output
    assert "2 of 2 done" in output
    assert [r["command"].startswith("python ") and "train.py" in r["command"] for r in rows(tmp_path)] == [
        True
    ] * 2


@needs_slurm
def test_slurm_trains_a_sweep_as_an_array(tmp_path):
    status, output = sweep(*SLURM, "train.epochs=1", "seed=0,1,2", results=tmp_path)
    assert status == 0, output
    assert "3 of 3 done" in output
    assert sorted(r["seed"] for r in rows(tmp_path)) == ["0", "1", "2"]


@needs_slurm
def test_a_job_that_is_preempted_is_queued_again_and_goes_on(tmp_path):
    with start(*SLURM, "train.epochs=150", "seed=0", results=tmp_path) as process:
        wait_for(lambda: n_epochs(tmp_path) >= 10)
        before = n_epochs(tmp_path)
        slurm("scancel", "--signal=USR2", *job_names())
        wait_for(lambda: not job_names("--states=RUNNING"))
        status, output = end(process)
    assert status == 0, output
    (row,) = rows(tmp_path)
    assert (row["status"], row["n_epochs"]) == ("done", "150")
    (log,) = tmp_path.glob("sweeps/*/submitit/*.err")
    assert "this job is preempted" in log.read_text()
    assert before < 150


@needs_slurm
def test_a_job_that_is_cancelled_is_a_failure_and_the_others_go_on(tmp_path):
    with start(*SLURM, "train.epochs=60", "seed=0,1", results=tmp_path) as process:
        wait_for(lambda: len(list((tmp_path / "runs").glob("*/metrics.csv"))) == 2)
        slurm("scancel", next(name for name in job_names() if name.endswith("_0")))
        status, output = end(process)
    assert status == 1, output
    assert "1 of 2 runs failed" in output
    assert [r["seed"] for r in rows(tmp_path)] == ["1"]


@needs_slurm
def test_a_job_that_is_lost_is_submitted_again(tmp_path):
    """Killed on its node, as for want of memory."""
    deaths = tmp_path / "deaths"
    deadly = ("method._target_=tests.train.deadly.Deadly", "train.epochs=1", "seed=0,1")
    status, output = sweep(*SLURM, *deadly, results=tmp_path, environment={"DEADLY": f"{deaths}:1"})
    assert status == 0, output
    assert sorted(r["seed"] for r in rows(tmp_path)) == ["0", "1"]
    assert deaths.stat().st_size > 1, "the killed run was started again"


def job_names(*which):
    return slurm("squeue", "--noheader", "--array", "--me", "--format=%i", *which).stdout.split()
