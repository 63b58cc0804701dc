"""One run: from a configuration to a result on disk, trained in this process, or in one for each of several devices.

Several train under Lightning's DistributedDataParallel, each its share of every batch.
"""

import sys
import traceback
import warnings
from typing import Any

import torch
from omegaconf import DictConfig

from jacexp.errors import JacexpError
from jacexp.methods.distributed import Share
from jacexp.store.merge import merge_runs
from jacexp.store.runs import in_words
from jacexp.store.tables import RUNS, check_table
from jacexp.train.callbacks import make_callbacks
from jacexp.train.job import Job, identify
from jacexp.train.loaders import loaders
from jacexp.train.preview import preview
from jacexp.train.processes import Rank, process_group, run_together
from jacexp.train.progress import chosen_progress, is_in_sweep, say
from jacexp.train.recorder import Diverged, Recorder
from jacexp.train.result import begin, describe, measure, record, writing
from jacexp.train.sources import warn_of_changes
from jacexp.train.stop import end_if_requested, stop_signals
from jacexp.train.trainer import differences, make_trainer, on_gpu


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
        job = identify(cfg)
        directory, before = job.directory, job.directory.over()
        if not is_in_sweep():
            warn_of_changes([(cfg, directory)])
        if before is None:
            job.prepare()
            check_table(directory.path.parents[1] / "runs.csv", RUNS)
            with directory.locked(), writing(f"run {directory.id}"):
                before = directory.over()  # now that nobody else can end it
                if before is None:
                    result = _train_and_record(job)
                    say(f"run {directory.id}: {in_words(result)}")
        directory.tidy()
        if before is None:
            return result
        merge_runs(directory.results, [directory])  # as its own end did, unless the process died before
        say(f"run {directory.id} is over ({in_words(before)}); nothing to do")
        return before


def _train_and_record(job: Job) -> dict[str, Any]:
    directory, row = job.directory, describe(job)
    try:
        say(preview([job], directory.path))
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


def fit(job: Job) -> dict[str, Any]:
    """Train from the start or from where an interrupted run stopped, and measure the columns of ``runs.csv``.

    Returns:
        The columns; nothing in any but the first of several processes, which writes all files.

    Raises:
        Diverged: if the loss is not finite.
    """
    callbacks = make_callbacks(job.cfg)
    recorder = Recorder([job], _raise, callbacks)
    trainer = make_trainer([job], recorder, callbacks.values())
    # Before a checkpoint is loaded: Lightning converts only afterwards, and would round it to float32.
    trainer.precision_plugin.convert_module(job.module)
    device = trainer.strategy.root_device
    job.module.to(device)
    train, val, test = loaders(job, device)
    recorder.fit(trainer, job.module, train, [val])
    if not trainer.is_global_zero:
        return {}
    measured = measure(job, test)
    recorder.logs[0].end(measured)
    return measured


def _raise(n: int, error: Diverged) -> None:  # noqa: ARG001  # there is only one
    raise error


def fit_on_devices(job: Job) -> dict[str, Any]:
    """Train a run in as many processes as ``train.devices`` says, with the numbers of one process but for rounding.

    Each process takes its share of the rows of every batch, and of what is drawn for it; see `Share`.

    Args:
        job: the run, which this process has locked.

    Returns:
        What `fit` returns.

    Raises:
        BaseException: whatever ended one of the processes; see `run_together`.
    """
    n = job.cfg.train.devices
    for words in differences(job.module):
        print(f"warning: train.devices={n}: {words}", file=sys.stderr)
    cfg = job.cfg.copy()
    cfg.progress = chosen_progress(cfg.progress)  # only this process knows whether it is within a sweep
    return run_together(_fit_share, n, cfg)


def _fit_share(rank: Rank, cfg: DictConfig) -> dict[str, Any]:
    with process_group(rank, gpu=on_gpu(cfg)):
        return fit_share(rank, cfg)


def fit_share(rank: Rank, cfg: DictConfig) -> dict[str, Any]:
    """Train as one process of a group; the first one alone prints, writes files and returns the columns."""
    # A dimension of size 1 has any stride: what the reducer says of it changes nothing.
    warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")
    if rank.number:
        cfg.progress = "off"
    job = identify(cfg).prepare()
    job.module.share = Share(rank.number, rank.of)
    return fit(job)
