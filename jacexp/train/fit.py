"""The training of one network: in this process alone, or as one of several that each take their share."""

from typing import Any

from jacexp.train.job import Job, loaders
from jacexp.train.outcome import measure
from jacexp.train.recorder import Recorder
from jacexp.train.trainer import make_trainer


def fit(job: Job) -> dict[str, Any]:
    """Train from the start or from where an interrupted run stopped, and measure the columns of ``runs.csv``.

    Returns:
        The columns; nothing in any but the first of several processes, which writes all files.
    """
    recorder = Recorder(job.directory, keep_best=job.cfg.checkpoint == "best")
    trainer = make_trainer(job.cfg, recorder, job.module.share)
    # Before a checkpoint is loaded: Lightning converts only afterwards, and would round it to float32.
    trainer.precision_plugin.convert_module(job.module)
    train, val, test = loaders(job, trainer.strategy.root_device)
    trainer.fit(job.module, train, val, ckpt_path=recorder.resumable())
    return measure(job, recorder.rows, recorder.seconds, test) if trainer.is_global_zero else {}
