"""Accuracy under the fast gradient sign, as the paper on Invariant Backpropagation draws it."""

from collections.abc import Iterator

import pandas as pd
import torch
from torch import Tensor

from jacexp.evaluate.ascent import log_odds, loss_gradient
from jacexp.evaluate.checks import flags, weaker_than_noise, zero_gradient
from jacexp.evaluate.draws import normal_like
from jacexp.evaluate.noise import correct_at
from jacexp.evaluate.points import count, points
from jacexp.evaluate.samples import Batch, Samples
from jacexp.evaluate.settings import Axis, Seed, checked


@checked
def adversarial(samples: Samples, *, epsilons: Axis, seed: Seed = 0) -> pd.DataFrame:
    """Count what stays right at x* = x + epsilon·sign(∇ₓL), without clipping (Demyanov et al., Eq. 4, Figure 2).

    L is each sample's own cross-entropy, and its sign is taken where rounding cannot lose it: with m the log-odds
    against the label, L = log(1 + e^m), so sign(∇ₓL) = sign(∇ₓm). Taken from L itself, in float32, the gradient of a
    confident sample (about p > 1 - 6e-8) has lost the true class's part, and the sample looks robust. The check
    compares with x + epsilon·s, s random signs.

    Args:
        samples: of a network.
        epsilons: sizes of the step in [0,1] pixel units.
        seed: of the check's random signs; the counts do not depend on it.

    Returns:
        One row an epsilon, with the flags ``weaker_than_noise`` and ``zero_gradient``.
    """
    dead: list[Tensor] = []

    def perturbed(batch: Batch) -> Iterator[Tensor]:
        _, gradient = loss_gradient(samples.net, batch.x, log_odds, batch.y)
        dead.append((gradient.flatten(1) == 0).all(dim=1).cpu())
        signs = normal_like(batch, seed, "adversarial").sign()
        for direction in (gradient.sign(), signs):
            yield from (batch.x + epsilon * direction for epsilon in epsilons)

    attack, noise = correct_at(samples, perturbed).chunk(2)
    masked = zero_gradient(torch.cat(dead))
    rows = [
        {"variable": "epsilon", "value": e, **count(a), "check": flags(weaker_than_noise(a, n), masked)}
        for e, a, n in zip(epsilons, attack, noise, strict=True)
    ]
    return points(rows, threat="pixels + epsilon*sign(gradient), not clipped")
