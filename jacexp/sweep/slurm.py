"""Where a sweep's runs are trained by Slurm: jobs of an array, through submitit."""

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from jacexp.errors import JacexpError
from jacexp.sweep.entry import Group
from jacexp.sweep.environment import environment, library
from jacexp.sweep.tasks import ATTEMPTS, task_of
from jacexp.train.stop import Stopped, rest, stop_signals

POLL_S = 1.0
"""How often is looked for what has ended."""

ENDED = "jacexp: saved, and ended by SIGTERM"
"""What a job's log says when Slurm ends it, as by scancel."""

QUEUE_S = 30.0
"""How often Slurm is asked for its queue."""


class Resumable:
    """A task that may be interrupted: it saves what it trains and is queued again, where it goes on.

    submitit sends SIGUSR2 before a timeout or a preemption. `save` takes it in place of submitit's own handler and
    passes it on as SIGTERM; training saves and raises Stopped; then submitit's handler gets the signal once more, and
    queues the job again.
    """

    def __init__(self, task: Callable[[], JacexpError | None]) -> None:
        """Wrap what trains a group."""
        self.task = task

    def __call__(self) -> JacexpError | None:
        """Train the group.

        Returns:
            Why it did not end well; None if it did.

        Raises:
            Stopped: if the job is ended by SIGTERM. Slurm itself queues a job again that it preempts in this way.
        """
        requeue = signal.getsignal(signal.SIGUSR2)  # submitit's handler
        asked = []

        def save(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001
            asked.append(signum)
            os.kill(os.getpid(), signal.SIGTERM)

        signal.signal(signal.SIGUSR2, save)
        try:
            with stop_signals():
                return self.task()
        except Stopped:
            signal.signal(signal.SIGUSR2, requeue)
            if asked:
                os.kill(os.getpid(), signal.SIGUSR2)
            print(ENDED, file=sys.stderr, flush=True)
            raise
        finally:
            signal.signal(signal.SIGUSR2, requeue)

    def checkpoint(self) -> Any:
        """Return what submitit queues again."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


class Submitit:
    """Submits each group as a job: to Slurm as one array, or to this machine."""

    n_jobs = 1  # a cluster has room for any number of groups, so they are as large as they may be

    def __init__(self, folder: Path, cluster: str, **parameters: Any) -> None:
        """Make submitit's executor: its files in a folder, its jobs on ``slurm`` or ``local``, with its own parameters.

        Raises:
            JacexpError: if submitit or Slurm is missing.
        """
        submitit = library("submitit", "slurm")
        self.errors = (submitit.core.utils.FailedJobError, submitit.core.utils.UncompletedJobError)
        parameters = {
            _parameter(key): value for key, value in parameters.items() if value not in (None, [], {})
        }
        timeouts = parameters.pop("slurm_max_num_timeout", None)
        try:
            self.executor = submitit.AutoExecutor(
                folder, cluster=cluster, **({} if timeouts is None else {"slurm_max_num_timeout": timeouts})
            )
        except RuntimeError as error:
            raise JacexpError(f"jobs cannot be submitted from here: {error}") from error
        self.executor.update_parameters(**parameters)
        logging.getLogger("submitit").setLevel(
            logging.ERROR
        )  # it warns at every look at a Slurm without accounting
        self._asked = time.monotonic()

    def train(self, groups: Sequence[Group]) -> Iterator[tuple[Group, JacexpError | None]]:
        """Submit every group and yield each as it ends; jobs go on when this process ends before them."""
        waiting = [_Submitted(job, group) for job, group in zip(self._submit(groups), groups, strict=True)]
        while waiting:
            queued = self._queued()
            for one in list(waiting):
                if not (one.job.done() or one.is_over() or one.is_gone(queued)):
                    continue
                is_lost, error = self._outcome(one)
                if is_lost and one.attempt < ATTEMPTS:
                    one.again(self._submit([one.group])[0])
                else:
                    waiting.remove(one)
                    yield one.group, error
            names = ", ".join(one.job.job_id for one in waiting[:10])
            rest(POLL_S if waiting else 0, f"the jobs {names} go on until scancel ends them")

    def _submit(self, groups: Sequence[Group]) -> list[Any]:
        if not groups:
            return []
        with environment(), self.executor.batch():
            return [self.executor.submit(Resumable(task_of(group))) for group in groups]

    def _queued(self) -> set[str] | None:
        """Names of this user's jobs that Slurm has not ended, asked now and then; None between, and without Slurm."""
        if self.executor.cluster != "slurm" or time.monotonic() - self._asked < QUEUE_S:
            return None
        self._asked = time.monotonic()
        command = ["squeue", "--noheader", "--array", "--me", "--format=%i"]
        asked = subprocess.run(command, capture_output=True, text=True, check=False)
        return set(asked.stdout.split()) if asked.returncode == 0 else None

    def _outcome(self, one: "_Submitted") -> tuple[bool, JacexpError | None]:
        """Whether a job was lost, for example with its machine, and why its group did not end well."""
        job = one.job
        if one.is_over():
            return False, None
        if job.state.startswith("CANCELLED") or (not job.done() and _was_ended(job)):
            return False, JacexpError(f"job {job.job_id} was cancelled")
        lost = JacexpError(f"job {job.job_id} was lost {one.attempt} times; see {job.paths.stderr}")
        if not job.done():
            return True, lost
        try:
            return False, job.result()
        except self.errors:
            return True, lost


def _was_ended(job: Any) -> bool:
    """Whether a job that is gone was asked to end: a cluster without accounting does not tell that from a lost one."""
    try:
        return ENDED in job.paths.stderr.read_text(errors="replace").splitlines()
    except OSError:
        return False


class _Submitted:
    """A job in the queue, and its group."""

    def __init__(self, job: Any, group: Group) -> None:
        self.job, self.group, self.attempt = job, group, 1
        self._n_missed = 0

    def again(self, job: Any) -> None:
        """Replace a lost job by the one that now trains the group."""
        self.job, self.attempt, self._n_missed = job, self.attempt + 1, 0

    def is_over(self) -> bool:
        """All its runs have ended."""
        return all(run.over() for run in self.group)

    def is_gone(self, queued: set[str] | None) -> bool:
        """Slurm does not know the job any more: a cluster without accounting says no more of one that was killed."""
        if queued is not None:
            self._n_missed = 0 if self.job.job_id in queued else self._n_missed + 1
        return self._n_missed >= 2


def _parameter(key: str) -> str:
    """Name a setting as submitit does: those of Slurm alone have a prefix."""
    common = ("name", "timeout_min", "cpus_per_task", "gpus_per_node", "mem_gb")
    return key if key in common else f"slurm_{key}"
