"""The right answers of a network on clean images, after an epoch and at a run's end."""

from collections.abc import Mapping, Sequence

import torch
from pytorch_lightning.plugins.precision import Precision

from jacexp.data.loader import Loader
from jacexp.methods.base import RegularizedModule
from jacexp.methods.sums import Sums


def evaluate(module: RegularizedModule, images: Loader, precision: Precision | None = None) -> Sums:
    """Sum up what a network does with images, in eval mode; it is left in the mode that it was in.

    Args:
        module: the network, in any method.
        images: where the network is.
        precision: of the training; None for that of the network's weights.

    Returns:
        The sums.
    """
    net, precision, sums = module.net, precision or Precision(), Sums(device=images.device)
    was_training = net.training
    net.eval()
    for batch in images:
        with torch.inference_mode(), precision.val_step_context():
            sums.add(module.plain_terms(precision.convert_input(batch)), batch.y)
    net.train(was_training)
    return sums


def best_row(rows: Sequence[Mapping[str, float]]) -> Mapping[str, float]:
    """Return the row of the epoch with the lowest validation loss, the first of equals."""
    return min(rows, key=lambda row: row["val_loss"])
