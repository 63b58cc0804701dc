"""The training of one network: in this process alone, or as one of several that each take their share."""

from typing import Any

from jacexp.train.job import Job, loaders
from jacexp.train.recorder import Diverged, Recorder
from jacexp.train.result import measure
from jacexp.train.resume import Resume
from jacexp.train.trainer import make_trainer


def fit(job: Job) -> dict[str, Any]:
    """Train from the start or from where an interrupted run stopped, and measure the columns of ``runs.csv``.

    Returns:
        The columns; nothing in any but the first of several processes, which writes all files.

    Raises:
        Diverged: if the loss is not finite.
    """
    resume = Resume.read(job.directory)
    recorder = Recorder([job], [resume], _raise)
    trainer = make_trainer(job.cfg, recorder, job.module.share)
    # Before a checkpoint is loaded: Lightning converts only afterwards, and would round it to float32.
    trainer.precision_plugin.convert_module(job.module)
    device = trainer.strategy.root_device
    job.module.to(device)
    train, val, test = loaders(job, device)
    recorder.fit(trainer, job.module, train, [val])
    return measure(job, resume.rows, resume.seconds, test) if trainer.is_global_zero else {}


def _raise(n: int, error: Diverged) -> None:  # noqa: ARG001  # there is only one
    raise error
