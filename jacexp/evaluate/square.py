"""The Square attack: random search, without gradients."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pandas as pd
from torch import Tensor, nn

from jacexp.evaluate.frame import count, frame
from jacexp.evaluate.library import correct_under
from jacexp.evaluate.samples import (
    Progress,
    check_at_least_one,
    check_counts,
    check_positive,
    check_samples,
)


def square(
    net: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    queries: Sequence[int],
    delta: float = 32 / 255,
    seed: int = 0,
    chunk: int = 250,
    n_samples: int | None = None,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Count what stays right under ``torchattacks.Square``, L∞ (Andriushchenko et al. 2020; Johansson et al., Fig. 3).

    The size of its squares follows a schedule over all queries, so each number of queries is a run of its own. Samples
    are left alone once they are wrong. 0 queries are the clean images; q queries are q proposals after a random start
    (stripes of ±delta), as the library counts.

    Args:
        net: a network from pixels in [0,1] to logits.
        x: images, (N, C, H, W), uint8 or float in [0,1].
        y: labels, (N,).
        queries: numbers of queries, ≥ 0.
        delta: radius of the L∞ ball in [0,1] pixel units.
        seed: of the search; every number of queries starts at the same points.
        chunk: images attacked together, which share their squares: the numbers depend on it.
        n_samples: attack the first so many images; None attacks all.
        progress: told of the samples done, over all numbers of queries.

    Returns:
        One row a number of queries.

    Raises:
        ConfigError: for queries or sizes that make no sense.
        DataError: for data that does not fit the network.
        EvaluationError: for logits that are not finite.
    """
    points = check_counts("queries", queries)
    check_positive(delta=delta)
    check_at_least_one(chunk=chunk)
    samples = check_samples(net, x, y, n_samples)
    rows = []
    for number, n_queries in enumerate(points):
        attack = partial(_attack, delta, n_queries)
        told = None if progress is None else _share(progress, number, len(points))
        correct = correct_under(net, samples, attack, chunk=chunk, seed=seed, stream="square", progress=told)
        rows.append({"variable": "queries", "value": n_queries, **count(correct)})
    settings = {"delta": delta, "seed": seed, "chunk": chunk, "n_samples": n_samples}
    return frame(rows, threat=f"pixels within Linf {delta:.4g}, clipped to [0,1]", settings=settings)


def _attack(
    delta: float, n_queries: int, library: Any, net: nn.Module, seed: int
) -> Callable[[Tensor, Tensor], Tensor]:
    """Make the attack; with no query at all, one that returns the images and not the random start."""
    if n_queries == 0:
        return library.VANILA(net)
    return library.Square(net, eps=delta, n_queries=n_queries, seed=seed)


def _share(progress: Progress, number: int, n_runs: int) -> Progress:
    """Tell of one of several runs over the same samples."""
    return lambda done, total: progress(number * total + done, n_runs * total)
