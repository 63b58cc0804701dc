"""Where a sweep's runs are trained by a cluster: jobs of Slurm through submitit, tasks of Ray."""

import inspect
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from jacexp.errors import JacexpError
from jacexp.train.executors import ATTEMPTS, InProcess, Processes, Task, environment
from jacexp.train.stop import SIGNALS, Stopped, end_if_requested, rest, stop_signals
from jacexp.train.sweep import Executor, Group

POLL_S = 1.0
"""How often is looked for what has ended."""

ENDED = "jacexp: saved, and ended by SIGTERM"
"""What a job's log says when Slurm ends it, as by scancel."""

CONNECT_S = 10.0
"""How long a cluster may take to answer."""

SAVE_S = 60.0
"""How long tasks that are asked to stop have to save what they train."""

QUEUE_S = 30.0
"""How often Slurm is asked for its queue."""


def make_executor(name: str, folder: Path, settings: Mapping[str, Any]) -> Executor:
    """Make what ``hydra.launcher.executor`` names.

    Args:
        name: ``in_process``, ``processes``, ``device`` (the first with a GPU, the second without), ``submitit`` or
            ``ray``.
        folder: the sweep's, for the logs of a cluster's jobs.
        settings: the executor's own.

    Returns:
        The executor.

    Raises:
        JacexpError: for another name, an impossible setting, or a library that is not installed.
    """
    if name == "device":
        name = "in_process" if torch.cuda.is_available() else "processes"
        settings = {} if name == "in_process" else settings
    makers: dict[str, Callable[..., Executor]] = {
        "in_process": InProcess,
        "processes": Processes,
        "submitit": partial(Submitit, folder / "submitit"),
        "ray": Ray,
    }
    if name not in makers:
        raise JacexpError(
            f"hydra.launcher.executor={name} is not one of in_process, processes, device, submitit, ray"
        )
    try:
        inspect.signature(makers[name]).bind(**settings)
    except TypeError as error:  # Hydra itself advises to add with a + what it does not know
        given = ", ".join(f"hydra.launcher.{key}" for key in settings)
        raise JacexpError(f"{given}: this launcher does not take all of them ({error})") from error
    return makers[name](**settings)


def _library(name: str, extra: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        raise JacexpError(
            f'this launcher needs {name}, which is not installed: pip install "jacexp[{extra}]"'
        ) from error


class Resumable(Task):
    """A task that may be interrupted: it saves what it trains and is queued again, where it goes on."""

    def __call__(self) -> JacexpError | None:
        """Train the group; submitit's signal, before a timeout or a preemption, first saves and then queues again.

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
                return super().__call__()
        except Stopped:
            signal.signal(signal.SIGUSR2, requeue)
            if asked:
                os.kill(os.getpid(), signal.SIGUSR2)
            print(ENDED, file=sys.stderr, flush=True)
            raise
        finally:
            signal.signal(signal.SIGUSR2, requeue)

    def checkpoint(self) -> Any:
        """Give submitit what to queue again."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


class Submitit:
    """Submits each group as a job: to Slurm as one array, or to this machine."""

    n_jobs = 1  # a cluster has room for any number of groups, so they are as large as they may be

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
        logging.getLogger("submitit").setLevel(
            logging.ERROR
        )  # it warns at every look at a Slurm without accounting
        self._asked = time.monotonic()

    def train(self, groups: Sequence[Group]) -> Iterator[tuple[Group, JacexpError | None]]:
        """Submit every group and give each as it ends; jobs go on when this process ends before them."""
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
            return [self.executor.submit(Resumable.of(group)) for group in groups]

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
        """Take the job that trains the group in place of one that was lost."""
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


class Ray:
    """Trains each group as a task of a Ray cluster."""

    n_jobs = 1  # a cluster has room for any number of groups, so they are as large as they may be

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
            _connect(address or os.environ.get("RAY_ADDRESS", ""))
            with _own_signals():
                self.ray.init(
                    address,
                    runtime_env={"env_vars": variables},
                    ignore_reinit_error=True,
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                )
        except (OSError, RuntimeError, ValueError) as error:
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
                end_if_requested()
        finally:
            for reference in waiting:
                self.ray.cancel(reference)  # Ctrl-C, for a task: it saves and stops
            if waiting:
                self.ray.wait(list(waiting), num_returns=len(waiting), timeout=SAVE_S)

    def _outcome(self, reference: Any) -> JacexpError | None:
        try:
            return self.ray.get(reference)
        except self.ray.exceptions.RayError as error:
            reason = str(error).strip().splitlines()[0]
            return JacexpError(f"its task was lost ({type(error).__name__}: {reason})")


def _connect(address: str) -> None:
    """Find out at once that nothing listens at HOST:PORT; Ray itself would wait for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if port.isdigit():  # and not auto or local, which are for Ray to find
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_S).close()


@contextmanager
def _own_signals() -> Iterator[None]:
    """Keep this program's handlers: Ray's end it at SIGTERM, in three seconds at the latest, saved or not."""
    before = {signum: signal.getsignal(signum) for signum in SIGNALS}
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


def _call(task: Task) -> JacexpError | None:
    return task()
