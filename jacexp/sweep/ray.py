"""Where a sweep's runs are trained by Ray: tasks of a cluster."""

import logging
import os
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from jacexp.errors import JacexpError, first_line
from jacexp.sweep.entry import Group
from jacexp.sweep.environment import environment, library
from jacexp.sweep.tasks import task_of
from jacexp.train.stop import SIGNALS, end_if_requested

POLL_S = 1.0
"""How often is looked for what has ended."""

CONNECT_S = 10.0
"""How long a cluster may take to answer."""

SAVE_S = 60.0
"""How long tasks that are asked to stop have to save what they train."""


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
        self.ray = library("ray", "ray")
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
        """Start every group and yield each as it ends."""
        remote = self.ray.remote(**self.options)(_call)
        waiting = {remote.remote(task_of(group)): group for group in groups}
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
            return JacexpError(f"its task was lost ({type(error).__name__}: {first_line(error)})")


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


def _call(task: Callable[[], JacexpError | None]) -> JacexpError | None:
    return task()
