"""AutoAttack, the strong reference."""

from collections.abc import Callable
from typing import Any

import pandas as pd
from torch import Tensor, nn

from jacexp.errors import ConfigError
from jacexp.evaluate.frame import count, frame
from jacexp.evaluate.library import correct_under
from jacexp.evaluate.samples import Progress, check_at_least_one, check_positive, check_samples


def autoattack(
    net: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    delta: float = 32 / 255,
    steps: int = 10,
    seed: int = 0,
    chunk: int = 250,
    n_samples: int | None = None,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Count what stays right under ``torchattacks.AutoAttack``, standard, L∞ (Croce and Hein 2020).

    APGD on the cross-entropy, targeted APGD on the difference of logits ratio, targeted FAB, and Square with 5000
    queries, one after the other on what is still right. The library gives APGD and FAB 10 steps, a tenth of
    AutoAttack's own 100: ``steps=100`` is comparable with published numbers.

    Args:
        net: a network from pixels in [0,1] to logits of at least 4 classes.
        x: images, (N, C, H, W), uint8 or float in [0,1].
        y: labels, (N,).
        delta: radius of the L∞ ball in [0,1] pixel units.
        steps: of APGD and FAB, ≥ 1.
        seed: of the attacks.
        chunk: images attacked together: the numbers depend on it.
        n_samples: attack the first so many images; None attacks all.
        progress: told of the samples done.

    Returns:
        One row, with the variable ``epsilon`` at delta.

    Raises:
        ConfigError: for sizes that make no sense, or fewer than 4 classes.
        DataError: for data that does not fit the network.
        EvaluationError: for logits that are not finite.
    """
    check_positive(delta=delta)
    check_at_least_one(steps=steps, chunk=chunk)
    samples = check_samples(net, x, y, n_samples)
    if samples.n_classes < 4:
        raise ConfigError(f"AutoAttack needs at least 4 classes, and the network has {samples.n_classes}")

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

    correct = correct_under(
        net, samples, attack, chunk=chunk, seed=seed, stream="autoattack", progress=progress
    )
    rows = [{"variable": "epsilon", "value": delta, **count(correct)}]
    settings = {"delta": delta, "steps": steps, "seed": seed, "chunk": chunk, "n_samples": n_samples}
    return frame(rows, threat=f"pixels within Linf {delta:.4g}, clipped to [0,1]", settings=settings)
