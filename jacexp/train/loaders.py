"""A job's images on the device that trains it."""

import torch

from jacexp.data.augment import AUGMENTS
from jacexp.data.loader import Loader
from jacexp.train.job import Job

EVALUATION_BATCH = 1000
"""Images in a batch of validation and test; it changes no number but the last digits of a loss."""


def loaders(job: Job, device: torch.device) -> tuple[Loader, Loader, Loader]:
    """Load a job's images onto the device: training (with tangents, if the method needs them), validation, test.

    Args:
        job: its network has the type that it is trained in.
        device: where it is trained.

    Returns:
        The three; where several processes train, the validation images are this one's share.
    """
    cfg, data, module = job.cfg, job.data, job.module
    dtype = next(module.net.parameters()).dtype  # with train.precision=64, bytes are not rounded on their way
    tangents = module.method.tangents(data.in_shape, device, dtype)
    is_precomputed = getattr(module.method, "precompute", False)
    train = Loader(
        data.x_train,
        data.y_train,
        batch_size=cfg.train.batch_size,
        seed=cfg.seed,
        device=device,
        dtype=dtype,
        augment=AUGMENTS[cfg.data.augment]() if cfg.data.augment != "none" else None,
        tangents=tangents.of_set(data.x_train) if tangents and is_precomputed else tangents,
    )
    x_val, y_val = module.share.rows(data.x_val), module.share.rows(data.y_val)
    val, test = (
        Loader(x, y, batch_size=EVALUATION_BATCH, shuffle=False, device=device, dtype=dtype)
        for x, y in ((x_val, y_val), (data.x_test, data.y_test))
    )
    return train, val, test
