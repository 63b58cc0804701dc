"""Accuracy under Gaussian noise, as each of the two papers adds it."""

from collections.abc import Callable, Iterator

import pandas as pd
import torch
from torch import Tensor

from jacexp.evaluate.draws import normal_like
from jacexp.evaluate.frozen import frozen, is_correct
from jacexp.evaluate.points import Row, count, points
from jacexp.evaluate.samples import Batch, Samples
from jacexp.evaluate.settings import Axis, Seed, checked


@checked
def gaussian(samples: Samples, *, sigmas: Axis, seed: Seed = 0) -> pd.DataFrame:
    """Count what stays right at x + sigma·n, n ~ N(0, I), without clipping (Demyanov et al., section 5.3, Figure 3).

    Each sample has one noise pattern n, which every sigma scales.

    Args:
        samples: of a network.
        sigmas: standard deviations of the noise in [0,1] pixel units.
        seed: of the noise; networks evaluated with one seed meet the same noise, in batches of any size.

    Returns:
        One row a sigma.
    """

    def noisy(batch: Batch) -> Iterator[Tensor]:
        noise = normal_like(batch, seed, "gaussian")
        return (batch.x + sigma * noise for sigma in sigmas)

    threat = "pixels + N(0, sigma^2), one pattern scaled by every sigma, not clipped"
    return points(_rows(sigmas, correct_at(samples, noisy)), threat)


@checked
def white_noise(samples: Samples, *, sigmas: Axis, seed: Seed = 0) -> pd.DataFrame:
    """Count what stays right at clip(x + n, 0, 1), n ~ N(0, sigma²I) (Johansson et al., Eq. 9, Figure 3).

    The noise is added to [0,1] pixels and clipped there; the network normalises afterwards. Each sigma has noise of
    its own, the same whatever other sigmas are asked for.

    Args:
        samples: of a network.
        sigmas: standard deviations of the noise in [0,1] pixel units.
        seed: of the noise, as in `gaussian`.

    Returns:
        One row a sigma.
    """

    def noisy(batch: Batch) -> Iterator[Tensor]:
        for sigma in sigmas:
            noise = normal_like(batch, seed, "white_noise", f"{sigma:.9g}")
            yield (batch.x + sigma * noise).clamp(0, 1)

    return points(_rows(sigmas, correct_at(samples, noisy)), "pixels + N(0, sigma^2), clipped to [0,1]")


def correct_at(samples: Samples, perturb: Callable[[Batch], Iterator[Tensor]]) -> Tensor:
    """Return which samples stay right under each of several perturbations.

    Args:
        samples: of a network.
        perturb: yields the perturbed batch once for every point of the curve.

    Returns:
        (points, N) bool, on the CPU.
    """
    with frozen(samples.net):
        parts = [
            torch.stack([is_correct(samples.net, x, batch.y) for x in perturb(batch)]).cpu()
            for batch in samples.batches()
        ]
    return torch.cat(parts, dim=1)


def _rows(sigmas: Axis, correct: Tensor) -> list[Row]:
    return [{"variable": "sigma", "value": s, **count(c)} for s, c in zip(sigmas, correct, strict=True)]
