"""Attacks from torchattacks, kept from touching anything but the images that they return."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn
from typing_extensions import override

from jacexp.evaluate.frozen import (
    EvaluationError,
    finite_logits,
    frozen,
    global_random_state_kept,
    is_correct,
)
from jacexp.evaluate.points import count, points
from jacexp.evaluate.samples import Progress, Samples
from jacexp.evaluate.settings import AtLeastOne, Counts, Positive, Seed, checked
from jacexp.random import make_generator

MakeAttack = Callable[[Any, nn.Module, int], Callable[[Tensor, Tensor], Tensor]]
"""Maps the module torchattacks, a network and a seed to an attack: images, labels -> adversarial images."""


@checked
def square(
    samples: Samples,
    *,
    queries: Counts,
    delta: Positive = 32 / 255,
    seed: Seed = 0,
    chunk: AtLeastOne = 250,
) -> pd.DataFrame:
    """Count what stays right under ``torchattacks.Square``, L∞ (Andriushchenko et al. 2020; Johansson et al., Fig. 3).

    The size of its squares follows a schedule over all queries, so each number of queries is a run of its own. Samples
    are left alone once they are wrong. 0 queries are the clean images; q queries are q proposals after a random start
    (stripes of ±delta), as the library counts.

    Args:
        samples: of a network.
        queries: numbers of queries.
        delta: radius of the L∞ ball in [0,1] pixel units.
        seed: of the search; every number of queries starts at the same points.
        chunk: images attacked together, which share their squares: the numbers depend on it.

    Returns:
        One row a number of queries.

    Raises:
        EvaluationError: for vectors.
    """
    rows = []
    for number, n_queries in enumerate(queries):
        told = samples.progress and _share(samples.progress, number, len(queries))
        attack = partial(_square, delta, n_queries)
        correct = correct_under(
            replace(samples, progress=told), attack, chunk=chunk, seed=seed, stream="square"
        )
        rows.append({"variable": "queries", "value": n_queries, **count(correct)})
    return points(rows, threat=f"pixels within Linf {delta:.4g}, clipped to [0,1]")


def _square(
    delta: float, n_queries: int, library: Any, net: nn.Module, seed: int
) -> Callable[[Tensor, Tensor], Tensor]:
    """Make the attack; with no query at all, one that returns the images and not the random start."""
    if n_queries == 0:
        return library.VANILA(net)
    return library.Square(net, eps=delta, n_queries=n_queries, seed=seed)


def _share(progress: Progress, number: int, n_runs: int) -> Progress:
    """Return the progress of one of several runs over the same samples."""
    return lambda done, total: progress(number * total + done, n_runs * total)


@checked
def autoattack(
    samples: Samples,
    *,
    delta: Positive = 32 / 255,
    steps: AtLeastOne = 100,
    seed: Seed = 0,
    chunk: AtLeastOne = 250,
) -> pd.DataFrame:
    """Count what stays right under ``torchattacks.AutoAttack``, standard, L∞ (Croce and Hein 2020).

    APGD on the cross-entropy, targeted APGD on the difference of logits ratio, targeted FAB, and Square with 5000
    queries, one after the other on what is still right. With AutoAttack's own 100 steps, on all images, it is
    comparable with published numbers.

    Args:
        samples: of a network with at least 4 classes.
        delta: radius of the L∞ ball in [0,1] pixel units.
        steps: of APGD and FAB.
        seed: of the attacks.
        chunk: images attacked together: the numbers depend on it.

    Returns:
        One row, with the variable ``epsilon`` at delta.

    Raises:
        EvaluationError: for fewer than 4 classes, or vectors.
    """
    if samples.n_classes < 4:
        raise EvaluationError(f"AutoAttack needs at least 4 classes, and the network has {samples.n_classes}")

    def attack(library: Any, net: nn.Module, seed: int) -> Callable[[Tensor, Tensor], Tensor]:
        shared = {"eps": delta, "seed": seed}
        stepped = {**shared, "steps": steps}
        targets = {"n_classes": samples.n_classes}
        attacks = [
            library.APGD(net, loss="ce", **stepped),
            library.APGDT(net, **targets, **stepped),
            library.FAB(net, multi_targeted=True, **targets, **stepped),
            library.Square(net, n_queries=5000, **shared),
        ]
        return library.MultiAttack(attacks)

    correct = correct_under(samples, attack, chunk=chunk, seed=seed, stream="autoattack")
    rows = [{"variable": "epsilon", "value": delta, **count(correct)}]
    return points(rows, threat=f"pixels within Linf {delta:.4g}, clipped to [0,1]")


@checked
def autoattack_quick(
    samples: Samples,
    *,
    delta: Positive = 32 / 255,
    steps: AtLeastOne = 10,
    seed: Seed = 0,
    chunk: AtLeastOne = 250,
) -> pd.DataFrame:
    """Count what stays right under `autoattack` with the 10 steps that torchattacks gives APGD and FAB."""
    return autoattack(samples, delta=delta, steps=steps, seed=seed, chunk=chunk)


class Float32(nn.Module):
    """A network of any float type that looks like float32, the one type that all of the library's attacks know."""

    def __init__(self, net: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.net, self.dtype = net, dtype

    @override
    def forward(self, x: Tensor) -> Tensor:
        return finite_logits(self.net, x.to(self.dtype)).float()


def correct_under(samples: Samples, make_attack: MakeAttack, *, chunk: int, seed: int, stream: str) -> Tensor:
    """Return which samples stay right under an attack of the library, (N,) bool, on the CPU.

    The library draws for whole batches from the global generator, which it seeds itself. So the batches are chunks of
    a size that is a setting of its own, each with its own seed, and the global generator's state is kept.

    Args:
        samples: of a network.
        make_attack: makes the attack on one chunk.
        chunk: images attacked together; the numbers depend on it.
        seed: of the evaluation.
        stream: names the attack among those of the seed.

    Returns:
        The samples that stay right.

    Raises:
        EvaluationError: for vectors.
    """
    if samples.x.ndim != 4:
        raise EvaluationError("this attack changes squares of images, and the run's data are vectors")
    import torchattacks  # here, because it takes seconds that other evaluations need not wait for

    correct, seen = [], Float32(samples.net, samples.dtype)
    with frozen(seen), global_random_state_kept():
        for number, batch in enumerate(samples.batches(chunk)):
            attack = make_attack(torchattacks, seen, make_generator(seed, stream, number).initial_seed())
            correct.append(is_correct(seen, attack(batch.x.float(), batch.y), batch.y))
    return torch.cat(correct).cpu()
