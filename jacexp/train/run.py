"""One run: from a configuration to a result on disk."""

import traceback
from typing import Any

import torch
from omegaconf import DictConfig

from jacexp.errors import JacexpError
from jacexp.store.merge import merge_runs
from jacexp.store.tables import RUNS, check_table
from jacexp.train.fit import fit, fit_on_devices
from jacexp.train.job import Job, identify, prepare
from jacexp.train.preview import Planned, preview
from jacexp.train.progress import say
from jacexp.train.recorder import Diverged
from jacexp.train.result import begin, describe, record, summary, writing
from jacexp.train.stop import end_if_requested, stop_signals


def run(cfg: DictConfig) -> dict[str, Any]:
    """Train one network and record how it ended; do nothing for a run that is over.

    SIGTERM and Ctrl-C end it after the present step. A run that was stopped or killed goes on from its last
    checkpoint and ends, on the CPU, bit for bit where it would have. A loss that is no longer finite ends a run as
    ``diverged``, which is a result; any other error ends it as ``failed``, and starting it again tries once more.

    Returns:
        The content of ``result.json``.

    Raises:
        JacexpError: for a configuration, data set or folder that cannot be used; no result is written then.
        RunLockedError: if another process is training it.
        Stopped: if the program was asked to stop; the run is saved.
    """
    with stop_signals():
        end_if_requested("no run was under way")
        directory = identify(cfg).directory
        before = directory.over()
        if before is None:
            job = prepare(cfg)
            check_table(directory.path.parents[1] / "runs.csv", RUNS)
            with directory.locked(), writing(f"run {directory.id}"):
                before = directory.over()  # now that nobody else can end it
                if before is None:
                    result = _train_and_record(job)
                    say(f"run {directory.id}: {summary(result)}")
        directory.tidy()
        if before is None:
            return result
        merge_runs(directory.results, [directory])  # as its own end did, unless the process died before
        say(f"run {directory.id} is over ({summary(before)}); nothing to do")
        return before


def _train_and_record(job: Job) -> dict[str, Any]:
    directory, data, row = job.directory, job.data, describe(job)
    try:
        say(preview([Planned(job.cfg, *map(len, (data.x_train, data.x_val, data.x_test)))], directory.path))
        begin(job)
        measured = fit(job) if job.cfg.train.devices == 1 else fit_on_devices(job)
        ending = {"status": "done"}
    except Diverged as error:
        ending, measured = {"status": "diverged", "error": str(error)}, {"epoch": error.epoch}
    except (JacexpError, OSError):
        raise
    except Exception as error:
        record(job, row, {"status": "failed", "error": traceback.format_exc()})
        reason = repr(error)
        if isinstance(error, torch.OutOfMemoryError):
            reason = f"out of memory ({error}); try a smaller train.batch_size or another train.device"
        raise JacexpError(f"run {directory.id} failed: {reason}; see {directory / 'result.json'}") from error
    return record(job, {**row, **measured}, ending)
