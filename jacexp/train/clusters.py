"""Where a sweep's runs are trained by a cluster: jobs of Slurm through submitit, tasks of Ray."""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from jacexp.errors import JacexpError
from jacexp.train.executors import ATTEMPTS, InProcess, Processes, Task, environment
from jacexp.train.stop import Stopped, stop_requested
from jacexp.train.sweep import Executor, Group

POLL_S = 1.0
"""How often a cluster is asked what has ended."""


def make_executor(name: str, folder: Path, settings: Mapping[str, Any]) -> Executor:
    """Make what ``hydra.launcher.executor`` names.

    Args:
        name: ``in_process``, ``processes``, ``submitit`` or ``ray``.
        folder: the sweep's, for the logs of a cluster's jobs.
        settings: the executor's own.

    Returns:
        The executor.

    Raises:
        JacexpError: for another name, an impossible setting, or a library that is not installed.
    """
    if name == "in_process":
        return InProcess()
    if name == "processes":
        return Processes(**settings)
    if name == "submitit":
        return Submitit(folder / "submitit", **settings)
    if name == "ray":
        return Ray(**settings)
    raise JacexpError(f"hydra.launcher.executor={name} is not one of in_process, processes, submitit, ray")


def _library(name: str, extra: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        raise JacexpError(
            f'this launcher needs {name}, which is not installed: pip install "jacexp[{extra}]"'
        ) from error


class Resumable(Task):
    """A task that Slurm may interrupt: what it has saved is where the same task goes on."""

    def checkpoint(self) -> Any:
        """Give submitit what to queue again after a timeout or a preemption."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


class Submitit:
    """Submits each group as a job: to Slurm as one array, or to this machine."""

    def __init__(self, folder: Path, cluster: str, **parameters: Any) -> None:
        """Take where submitit keeps its files, whether the jobs are ``slurm``'s or ``local``, and their parameters.

        Raises:
            JacexpError: if submitit or Slurm is missing.
        """
        submitit = _library("submitit", "slurm")
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

    def train(self, groups: Sequence[Group]) -> Iterator[tuple[Group, JacexpError | None]]:
        """Submit every group and give each as it ends; jobs go on when this process ends before them."""
        waiting = list(zip(self._submit(groups), groups, [1] * len(groups), strict=True))
        while waiting:
            left = []
            for job, group, attempt in waiting:
                if not job.done():
                    left.append((job, group, attempt))
                    continue
                lost, error = self._outcome(job)
                if lost and attempt < ATTEMPTS:
                    left.append((self._submit([group])[0], group, attempt + 1))
                else:
                    yield group, error
            waiting = left
            if waiting:
                _rest(
                    f"the jobs {', '.join(job.job_id for job, _, _ in waiting[:10])} go on; scancel ends them"
                )

    def _submit(self, groups: Sequence[Group]) -> list[Any]:
        if not groups:
            return []
        with environment(), self.executor.batch():
            return [self.executor.submit(Resumable.of(group)) for group in groups]

    def _outcome(self, job: Any) -> tuple[bool, JacexpError | None]:
        """Whether a job was lost, for example with its machine, and why its group did not end well."""
        try:
            return False, job.result()
        except self.errors as error:
            reason = str(error).strip().splitlines()[0]
            return True, JacexpError(f"job {job.job_id} was lost ({reason}); see {job.paths.stderr}")


def _parameter(key: str) -> str:
    """Name a setting as submitit does: those of Slurm alone have a prefix."""
    common = ("name", "timeout_min", "cpus_per_task", "gpus_per_node", "mem_gb")
    return key if key in common else f"slurm_{key}"


class Ray:
    """Trains each group as a task of a Ray cluster."""

    def __init__(self, address: str | None, num_cpus: float, num_gpus: float, max_retries: int) -> None:
        """Join a cluster, or begin one of this machine.

        Args:
            address: the cluster's; None: RAY_ADDRESS, or else one of this machine.
            num_cpus: cores of a task.
            num_gpus: GPUs of a task.
            max_retries: how often a task is started again whose process or machine died.

        Raises:
            JacexpError: if Ray is missing, or there is no cluster at the address.
        """
        self.ray = _library("ray", "ray")
        self.options = {"num_cpus": num_cpus, "num_gpus": num_gpus, "max_retries": max_retries}
        with environment():
            keys = ("PYTHONPATH", "JACEXP_DATA")
            variables = {key: os.environ[key] for key in keys if key in os.environ}
        try:
            self.ray.init(
                address, runtime_env={"env_vars": variables}, log_to_driver=False, ignore_reinit_error=True
            )
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise JacexpError(
                f"hydra.launcher.address={address}: no Ray cluster answers ({error})"
            ) from error

    def train(self, groups: Sequence[Group]) -> Iterator[tuple[Group, JacexpError | None]]:
        """Start every group and give each as it ends."""
        remote = self.ray.remote(**self.options)(_call)
        waiting = {remote.remote(Task.of(group)): group for group in groups}
        try:
            while waiting:
                ready, _ = self.ray.wait(list(waiting), num_returns=1, timeout=POLL_S)
                for reference in ready:
                    yield waiting.pop(reference), self._outcome(reference)
                _rest("stopping the tasks", seconds=0)
        finally:
            for reference in waiting:
                self.ray.cancel(reference, force=False)

    def _outcome(self, reference: Any) -> JacexpError | None:
        try:
            return self.ray.get(reference)
        except self.ray.exceptions.RayError as error:
            reason = str(error).strip().splitlines()[0]
            return JacexpError(f"its task was lost ({type(error).__name__}: {reason})")


def _call(task: Task) -> JacexpError | None:
    return task()


def _rest(what: str, seconds: float = POLL_S) -> None:
    """Wait for a while, and end if that is asked for, saying what becomes of what is trained."""
    until = time.monotonic() + seconds
    while True:
        if stop_requested():
            raise Stopped(f"stopped; {what}; the same command goes on")
        if time.monotonic() >= until:
            return
        time.sleep(0.1)
