"""Clean accuracy."""

import pandas as pd
import torch
from torch.nn import functional as F

from jacexp.evaluate.frozen import finite_logits, frozen
from jacexp.evaluate.points import count, points, summary
from jacexp.evaluate.samples import Samples


def accuracy(samples: Samples) -> pd.DataFrame:
    """Count the samples that a network classifies as their label, and summarise its cross-entropy on them.

    Returns:
        One row, with no variable; its statistic is the cross-entropy of a sample, in nats.
    """
    correct, losses = [], []
    with frozen(samples.net), torch.no_grad():
        for batch in samples.batches():
            logits = finite_logits(samples.net, batch.x)
            correct.append(logits.argmax(dim=1) == batch.y)
            losses.append(F.cross_entropy(logits, batch.y, reduction="none"))
    row = {**count(torch.cat(correct)), **summary("cross_entropy", torch.cat(losses))}
    return points([row], threat="clean")
