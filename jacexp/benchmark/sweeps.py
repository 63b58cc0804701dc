"""How many steps of networks a second a sweep takes, one network after another, in several processes, and fused."""

import tempfile
from pathlib import Path

from jacexp.benchmark.lenets import lenets
from jacexp.errors import JacexpError
from jacexp.sweep.engine import Executor, plan, train_missing
from jacexp.sweep.executors import InProcess, Processes


def modes(n_jobs: int) -> dict[str, tuple[Executor, bool]]:
    """Return each launcher's executor on this machine and whether it trains fused, by the launcher's name."""
    several = f" ({n_jobs} processes)"
    return {
        "sequential": (InProcess(), False),
        "joblib" + several: (Processes(n_jobs), False),
        "fused (1 process)": (InProcess(), True),
        "fused" + several: (Processes(n_jobs), True),
    }


def network_steps_per_second(
    executor: Executor, *, fuse: bool, method: str, n_networks: int, n_steps: int, batch_size: int
) -> float:
    """Train LeNets of different seed and strength for one epoch of random images, as a sweep does.

    The clock is that of the runs themselves: batches, steps, sums, validation and callbacks, without the set-up of
    processes, networks and data, and without checkpoints.

    Args:
        executor: where they are trained.
        fuse: train them as one stack, or one a process.
        method: of `conf/method`, with its own strength.
        n_networks: runs of the sweep.
        n_steps: of each.
        batch_size: images a step and network.

    Returns:
        Steps, summed over networks, a second.

    Raises:
        JacexpError: if a run failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        cfgs = lenets(Path(folder), method, n_networks, n_steps * batch_size, batch_size)
        runs = plan([(f"seed={n}", cfg) for n, cfg in enumerate(cfgs)])
        train_missing(
            runs, executor, fuse=fuse, largest=-(-n_networks // executor.n_jobs), ended=lambda _: None
        )
        seconds = 0.0
        for run in runs:
            result = run.over()
            if result is None:
                raise JacexpError(f"{run.overrides} failed: {run.error}")
            seconds += result["row"]["train_s"]
    return n_networks * n_steps * min(executor.n_jobs, n_networks) / seconds
