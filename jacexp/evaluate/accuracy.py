"""Clean accuracy."""

import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from jacexp.evaluate.frame import count, frame, summary
from jacexp.evaluate.frozen import finite_logits, frozen
from jacexp.evaluate.samples import Progress, check_samples


def accuracy(
    net: nn.Module, x: Tensor, y: Tensor, *, batch_size: int = 250, progress: Progress | None = None
) -> pd.DataFrame:
    """Count the samples that a network classifies as their label, and summarise its cross-entropy on them.

    Args:
        net: a network from pixels in [0,1] to logits.
        x: images, (N, C, H, W), uint8 or float in [0,1].
        y: labels, (N,).
        batch_size: images a forward pass; the counts do not depend on it.
        progress: told of the samples done.

    Returns:
        One row, with no variable; its statistic is the cross-entropy of a sample, in nats.

    Raises:
        DataError: for data that does not fit the network.
        EvaluationError: for logits that are not finite.
    """
    samples = check_samples(net, x, y)
    correct, losses = [], []
    with frozen(net), torch.no_grad():
        for batch in samples.batches(batch_size, progress):
            logits = finite_logits(net, batch.x)
            correct.append(logits.argmax(dim=1) == batch.y)
            losses.append(F.cross_entropy(logits, batch.y, reduction="none"))
    row = {**count(torch.cat(correct)), **summary("cross_entropy", torch.cat(losses))}
    return frame([row], threat="clean", settings={})
