"""The launcher ray on a real cluster: two nodes, both on this machine."""

import importlib.util
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.launchers.command import end, n_epochs, start, sweep, wait_for
from tests.results import rows

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not importlib.util.find_spec("ray"), reason='needs pip install "jacexp[ray]"'),
]
PORT = 6399


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A head and a second node, one core each; gives the file in which a deadly method counts its deaths."""
    deaths = tmp_path_factory.mktemp("ray") / "deaths"
    environment = {**os.environ, "DEADLY": f"{deaths}:1"}
    common = ("--num-cpus=1", "--disable-usage-stats", "--object-store-memory=100000000")
    ray = [str(Path(sys.executable).with_name("ray"))]
    for words in (
        (f"--port={PORT}", "--head", "--include-dashboard=false"),
        (f"--address=127.0.0.1:{PORT}",),
    ):
        subprocess.run([*ray, "start", *words, *common], env=environment, check=True, capture_output=True)
    yield deaths
    subprocess.run([*ray, "stop"], check=True, capture_output=True)


RAY = ("hydra/launcher=ray", f"hydra.launcher.address=127.0.0.1:{PORT}")


def test_a_cluster_of_two_nodes_trains_a_sweep_though_a_worker_is_killed(cluster, tmp_path):
    deadly = ("method._target_=tests.train.deadly.Deadly", "train.epochs=1", "seed=0,1,2")
    status, output = sweep(*RAY, *deadly, results=tmp_path, environment={"DEADLY": f"{cluster}:1"})
    assert status == 0, output
    assert "3 of 3 done" in output
    assert sorted(r["seed"] for r in rows(tmp_path)) == ["0", "1", "2"]
    assert cluster.stat().st_size > 1, "the killed run was started again"


def test_a_request_to_stop_reaches_the_tasks_and_the_same_command_goes_on(cluster, tmp_path):
    words = (*RAY, "train.epochs=400", "seed=0,1")
    with start(*words, results=tmp_path) as process:
        wait_for(lambda: n_epochs(tmp_path) >= 10)
        process.send_signal(signal.SIGTERM)
        status, output = end(process)
    assert status == 143, output
    assert not (tmp_path / "runs.csv").exists()
    assert list((tmp_path / "runs").glob("*/resume.ckpt"))
    status, output = sweep(*words, results=tmp_path)
    assert status == 0, output
    assert len(rows(tmp_path)) == 2


def test_where_no_cluster_is_there_is_one_clear_error(tmp_path):
    words = ("hydra/launcher=ray", "hydra.launcher.address=127.0.0.1:1", "train.epochs=1", "seed=0,1")
    status, output = sweep(*words, results=tmp_path)
    assert status == 1
    assert "no Ray cluster answers" in output
    assert "Traceback" not in output
