"""A sweep as a user starts it, for the tests of launchers."""

import os
import subprocess
import sys
import time
from pathlib import Path

PATIENCE_S = 600
"""A busy machine is slow; nothing here waits for so long unless something is wrong."""
ROOT = Path(__file__).parents[2]
SHORT = ("+method=none", "data.subset=60", "data.holdout=30", "train.batch_size=20", "train.lr=0.02", "-m")


def start(*words, results, environment=None):
    """Start train.py with its results in a folder."""
    command = [sys.executable, str(ROOT / "train.py"), *SHORT, *words, f"paths.results={results}"]
    env = {**os.environ, "OMP_NUM_THREADS": "1", **(environment or {})}
    return subprocess.Popen(
        command, cwd=results, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def sweep(*words, results, environment=None):
    """Run train.py to its end."""
    with start(*words, results=results, environment=environment) as process:
        return end(process)


def end(process):
    """Wait for a program's end and give its status and what it said; one that does not end is killed."""
    try:
        output, _ = process.communicate(timeout=PATIENCE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        output, _ = process.communicate()
        raise AssertionError(f"it does not end: {output}") from None
    return process.returncode, output


def n_epochs(results):
    """Epochs that all runs together have behind them."""
    files = (results / "runs").glob("*/metrics.csv")
    return sum(len(path.read_text().splitlines()) - 1 for path in files)


def wait_for(happens):
    """Wait until something holds."""
    until = time.monotonic() + PATIENCE_S
    while not happens():
        assert time.monotonic() < until, "it does not happen"
        time.sleep(0.2)
