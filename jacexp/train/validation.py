"""The right answers of a network on clean images, after an epoch and at a run's end."""

from collections.abc import Mapping, Sequence

import torch
from pytorch_lightning.plugins.precision import Precision

from jacexp.data.loader import Loader
from jacexp.methods.method import plain_terms
from jacexp.methods.sums import Sums
from jacexp.models.network import Network


def evaluate(net: Network, images: Loader, precision: Precision | None = None) -> Sums:
    """Sum up what a network does with images, in eval mode; it is left in the mode that it was in.

    Args:
        net: the network.
        images: where the network is.
        precision: of the training; None for that of the network's weights.

    Returns:
        The sums.
    """
    precision, sums = precision or Precision(), Sums(device=images.device)
    was_training = net.training
    net.eval()
    for batch in images:
        with torch.inference_mode(), precision.val_step_context():
            sums.add(plain_terms(net, precision.convert_input(batch)), batch.y)
    net.train(was_training)
    return sums


def best_row(rows: Sequence[Mapping[str, float]]) -> Mapping[str, float]:
    """Return the row of the epoch with the lowest validation loss, the first of equals."""
    return min(rows, key=lambda row: row["val_loss"])
