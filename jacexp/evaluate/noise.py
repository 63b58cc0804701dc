"""Accuracy under Gaussian noise, as each of the two papers adds it."""

from collections.abc import Callable, Iterator, Sequence

import pandas as pd
import torch
from torch import Tensor, nn

from jacexp.evaluate.draws import normal_like
from jacexp.evaluate.frame import count, frame
from jacexp.evaluate.frozen import frozen, is_correct
from jacexp.evaluate.samples import Batch, Progress, Samples, check_axis, check_samples


def gaussian(
    net: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    sigmas: Sequence[float],
    seed: int = 0,
    batch_size: int = 250,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Count what stays right at x + sigma·n, n ~ N(0, I), without clipping (Demyanov et al., section 5.3, Figure 3).

    Each sample has one noise pattern n, which every sigma scales.

    Args:
        net: a network from pixels in [0,1] to logits.
        x: images, (N, C, H, W), uint8 or float in [0,1].
        y: labels, (N,).
        sigmas: standard deviations of the noise in [0,1] pixel units, ≥ 0.
        seed: of the noise; networks evaluated with one seed meet the same noise.
        batch_size: images a forward pass; the noise does not depend on it.
        progress: told of the samples done.

    Returns:
        One row a sigma.

    Raises:
        ConfigError: for sigmas that are negative or not finite.
        DataError: for data that does not fit the network.
        EvaluationError: for logits that are not finite.
    """
    points = check_axis("sigmas", sigmas)

    def noisy(batch: Batch) -> Iterator[Tensor]:
        noise = normal_like(batch, seed, "gaussian")
        return (batch.x + sigma * noise for sigma in points)

    correct = correct_at(net, check_samples(net, x, y), noisy, batch_size, progress)
    threat = "pixels + N(0, sigma^2), one pattern scaled by every sigma, not clipped"
    return frame(_rows(points, correct), threat=threat, settings={"seed": seed})


def white_noise(
    net: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    sigmas: Sequence[float],
    seed: int = 0,
    batch_size: int = 250,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Count what stays right at clip(x + n, 0, 1), n ~ N(0, sigma²I) (Johansson et al., Eq. 9, Figure 3).

    The noise is added to [0,1] pixels and clipped there; the network normalises afterwards. Each sigma has noise of
    its own, the same whatever other sigmas are asked for.

    Args:
        net: a network from pixels in [0,1] to logits.
        x: images, (N, C, H, W), uint8 or float in [0,1].
        y: labels, (N,).
        sigmas: standard deviations of the noise in [0,1] pixel units, ≥ 0.
        seed: of the noise; networks evaluated with one seed meet the same noise.
        batch_size: images a forward pass; the noise does not depend on it.
        progress: told of the samples done.

    Returns:
        One row a sigma.

    Raises:
        ConfigError: for sigmas that are negative or not finite.
        DataError: for data that does not fit the network.
        EvaluationError: for logits that are not finite.
    """
    points = check_axis("sigmas", sigmas)

    def noisy(batch: Batch) -> Iterator[Tensor]:
        for sigma in points:
            noise = normal_like(batch, seed, "white_noise", f"{sigma:.9g}")
            yield (batch.x + sigma * noise).clamp(0, 1)

    correct = correct_at(net, check_samples(net, x, y), noisy, batch_size, progress)
    return frame(
        _rows(points, correct), threat="pixels + N(0, sigma^2), clipped to [0,1]", settings={"seed": seed}
    )


def correct_at(
    net: nn.Module,
    samples: Samples,
    perturb: Callable[[Batch], Iterator[Tensor]],
    batch_size: int,
    progress: Progress | None = None,
) -> Tensor:
    """Say which samples stay right under each of several perturbations.

    Args:
        net: a network from pixels in [0,1] to logits.
        samples: checked images and labels.
        perturb: gives the perturbed batch once for every point of the curve.
        batch_size: images a forward pass.
        progress: told of the samples done.

    Returns:
        (points, N) bool, on the CPU.
    """
    with frozen(net):
        parts = [
            torch.stack([is_correct(net, x, batch.y) for x in perturb(batch)]).cpu()
            for batch in samples.batches(batch_size, progress)
        ]
    return torch.cat(parts, dim=1)


def _rows(sigmas: list[float], correct: Tensor) -> list[dict[str, object]]:
    return [{"variable": "sigma", "value": s, **count(c)} for s, c in zip(sigmas, correct, strict=True)]
