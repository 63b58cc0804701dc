"""Accuracy under the fast gradient sign, as the paper on Invariant Backpropagation draws it."""

from collections.abc import Iterator, Sequence

import pandas as pd
import torch
from torch import Tensor, nn

from jacexp.evaluate.ascent import log_odds, loss_gradient
from jacexp.evaluate.checks import flags, weaker_than_noise, zero_gradient
from jacexp.evaluate.draws import normal_like
from jacexp.evaluate.frame import count, frame
from jacexp.evaluate.noise import correct_at
from jacexp.evaluate.samples import Batch, Progress, check_axis, check_samples


def adversarial(
    net: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    epsilons: Sequence[float],
    seed: int = 0,
    batch_size: int = 250,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Count what stays right at x* = x + epsilon·sign(∇ₓL), without clipping (Demyanov et al., Eq. 4, Figure 2).

    L is each sample's own cross-entropy, and its sign is taken where rounding cannot lose it: with m the log-odds
    against the label, L = log(1 + e^m), so sign(∇ₓL) = sign(∇ₓm). Taken from L itself, in float32, the gradient of a
    confident sample (about p > 1 - 6e-8) has lost the true class's part, and the sample looks robust. The check
    compares with x + epsilon·s, s random signs.

    Args:
        net: a network from pixels in [0,1] to logits.
        x: images, (N, C, H, W), uint8 or float in [0,1].
        y: labels, (N,).
        epsilons: sizes of the step in [0,1] pixel units, ≥ 0.
        seed: of the check's random signs; the counts do not depend on it.
        batch_size: images a pass; the counts do not depend on it.
        progress: told of the samples done.

    Returns:
        One row an epsilon, with the flags ``weaker_than_noise`` and ``zero_gradient``.

    Raises:
        ConfigError: for epsilons that are negative or not finite.
        DataError: for data that does not fit the network.
        EvaluationError: for logits that are not finite.
    """
    points = check_axis("epsilons", epsilons)
    dead: list[Tensor] = []

    def perturbed(batch: Batch) -> Iterator[Tensor]:
        _, gradient = loss_gradient(net, batch.x, log_odds, batch.y)
        dead.append((gradient.flatten(1) == 0).all(dim=1).cpu())
        signs = normal_like(batch, seed, "adversarial").sign()
        for direction in (gradient.sign(), signs):
            yield from (batch.x + epsilon * direction for epsilon in points)

    correct = correct_at(net, check_samples(net, x, y), perturbed, batch_size, progress)
    attack, noise = correct.chunk(2)
    masked = zero_gradient(torch.cat(dead))
    rows = [
        {"variable": "epsilon", "value": e, **count(a), "check": flags(weaker_than_noise(a, n), masked)}
        for e, a, n in zip(points, attack, noise, strict=True)
    ]
    return frame(rows, threat="pixels + epsilon*sign(gradient), not clipped", settings={"seed": seed})
