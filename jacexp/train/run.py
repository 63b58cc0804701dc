"""One run: from a configuration to a result on disk."""

import traceback
from typing import Any

import torch
from omegaconf import DictConfig

from jacexp.errors import JacexpError
from jacexp.train.ending import settle
from jacexp.train.fused import train_stack
from jacexp.train.job import Job, identify, loaders, prepare
from jacexp.train.outcome import begin, describe, measure, record, summary, writing
from jacexp.train.progress import say
from jacexp.train.recorder import Diverged, Recorder
from jacexp.train.stack_recorder import began_in_a_stack
from jacexp.train.stop import Stopped, stop_requested, stop_signals
from jacexp.train.trainer import make_trainer


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
        if stop_requested():
            raise Stopped("no run was under way; the same command goes on")
        directory = identify(cfg).directory
        before = directory.over()
        if before is None:
            job = prepare(cfg)
            with directory.locked(), writing(f"run {directory.id}"):
                settle(directory)
                before = directory.over()  # now that nobody else can end it
                if before is None:
                    result = _train_and_record(job)
                    say(f"run {directory.id}: {summary(result)}")
        directory.tidy()
        if before is None:
            return result
        say(f"run {directory.id} is over ({summary(before)}); nothing to do")
        return before


def _train_and_record(job: Job) -> dict[str, Any]:
    directory, row = job.directory, describe(job)
    try:
        if began_in_a_stack(directory):
            return train_stack([job])[0]
        ending, measured = {"status": "done"}, _train(job)
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


def _train(job: Job) -> dict[str, Any]:
    """Train from the start or from where an interrupted run stopped, and measure the columns of ``runs.csv``."""
    cfg, directory, module = job.cfg, job.directory, job.module
    begin(job)
    recorder = Recorder(directory, keep_best=cfg.checkpoint == "best")
    trainer = make_trainer(cfg, recorder)
    device = trainer.strategy.root_device
    train, val, test = loaders(job, device)
    if cfg.train.precision == "64":
        module.net.double()  # Lightning converts it only after a checkpoint was loaded, into float32
    trainer.fit(module, train, val, ckpt_path=recorder.resumable())
    return measure(job, recorder.rows, recorder.seconds, test)
