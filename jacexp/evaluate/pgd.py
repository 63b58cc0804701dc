"""Projected gradient ascent: the accuracies at every number of steps, from one trajectory."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import pandas as pd
import torch
from torch import Tensor, nn

from jacexp.errors import ConfigError
from jacexp.evaluate.ascent import Loss, ascend, cross_entropy, divergence, loss_gradient
from jacexp.evaluate.checks import flags, vanished, weaker_than_noise, zero_gradient
from jacexp.evaluate.draws import normal_like, uniform_like
from jacexp.evaluate.frame import count, frame
from jacexp.evaluate.frozen import finite_logits, frozen, is_correct
from jacexp.evaluate.samples import Batch, Progress, check_counts, check_positive, check_samples

Tally = Literal["final", "worst"]


def pgd(
    net: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    steps: Sequence[int],
    delta: float = 32 / 255,
    eta: float = 2 / 255,
    tally: Tally = "final",
    seed: int = 0,
    n_samples: int | None = None,
    batch_size: int = 250,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Count what stays right under projected gradient ascent on the cross-entropy (Johansson et al., Eq. 10, Figure 3).

    x ← Proj[x + eta·sign(∇ₓL)], from clip(x + U(−delta, delta)), as in ``torchattacks.PGD``. 0 steps are the clean
    images, not the random start. With ``tally="final"`` the counts are those of ``torchattacks.PGD(steps=s)`` at each
    s: every sample is attacked, and one that was wrong can come out right. With ``worst`` a sample counts only while
    the image and all its iterates are right: a stronger attack, which drops the samples it has won.

    Args:
        net: a network from pixels in [0,1] to logits.
        x: images, (N, C, H, W), uint8 or float in [0,1].
        y: labels, (N,).
        steps: numbers of steps, ≥ 0; all come from one trajectory.
        delta: radius of the L∞ ball in [0,1] pixel units.
        eta: step size in [0,1] pixel units.
        tally: ``final`` (torchattacks) or ``worst``.
        seed: of the random start; networks evaluated with one seed start at the same points.
        n_samples: attack the first so many images; None attacks all.
        batch_size: images a pass; the random starts do not depend on it.
        progress: told of the samples done.

    Returns:
        One row a number of steps, with the flags ``weaker_than_noise`` (noise U(−delta, delta), where the steps reach
        across the ball's radius) and ``zero_gradient``.

    Raises:
        ConfigError: for steps, sizes or a tally that make no sense.
        DataError: for data that does not fit the network.
        EvaluationError: for logits that are not finite.
    """

    def begin(batch: Batch) -> tuple[Tensor, Tensor]:
        return batch.x + uniform_like(batch, delta, seed, "pgd"), batch.y

    attack = Attack(cross_entropy, begin, check_counts("steps", steps), delta, eta, tally, seed)
    return attack.curve(net, x, y, n_samples, batch_size, progress)


def tpgd(
    net: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    steps: Sequence[int],
    delta: float = 32 / 255,
    eta: float = 2 / 255,
    tally: Tally = "final",
    seed: int = 0,
    n_samples: int | None = None,
    batch_size: int = 250,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Count what stays right under projected gradient ascent on KL(p(x) ‖ p(x*)) (Zhang et al. 2019, TRADES).

    x* ← Proj[x* + eta·sign(∇KL)], from clip(x + 0.001·N(0, I)), as in ``torchattacks.TPGD``. The attack never sees the
    labels; they are for counting. 0 steps are the clean images.

    Args:
        net: a network from pixels in [0,1] to logits.
        x: images, (N, C, H, W), uint8 or float in [0,1].
        y: labels, (N,).
        steps: numbers of steps, ≥ 0; all come from one trajectory.
        delta: radius of the L∞ ball in [0,1] pixel units.
        eta: step size in [0,1] pixel units.
        tally: ``final`` (torchattacks) or ``worst``; see `pgd`.
        seed: of the random start; networks evaluated with one seed start at the same points.
        n_samples: attack the first so many images; None attacks all.
        batch_size: images a pass; the random starts do not depend on it.
        progress: told of the samples done.

    Returns:
        One row a number of steps, flagged as in `pgd`.

    Raises:
        ConfigError: for steps, sizes or a tally that make no sense.
        DataError: for data that does not fit the network.
        EvaluationError: for logits that are not finite.
    """

    def begin(batch: Batch) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            p = finite_logits(net, batch.x).softmax(dim=1)
        return batch.x + 0.001 * normal_like(batch, seed, "tpgd"), p

    attack = Attack(divergence, begin, check_counts("steps", steps), delta, eta, tally, seed)
    return attack.curve(net, x, y, n_samples, batch_size, progress)


@dataclass(frozen=True)
class Attack:
    """Ascent on a loss within ‖x* − x‖∞ ≤ delta and [0,1].

    Attributes:
        loss: what is climbed, one number a sample.
        begin: gives a batch's first point, before clipping, and what the loss compares the logits with.
        steps: numbers of steps at which to count.
        delta: radius of the ball in pixel units.
        eta: step size in pixel units.
        tally: ``final`` asks whether the last point is right, ``worst`` whether the image and all points so far are.
        seed: of the noise that the check compares with.

    Raises:
        ConfigError: for a delta or eta that is not positive, or an unknown tally.
    """

    loss: Loss
    begin: Callable[[Batch], tuple[Tensor, Tensor]]
    steps: list[int]
    delta: float
    eta: float
    tally: Tally
    seed: int

    def __post_init__(self) -> None:
        check_positive(delta=self.delta, eta=self.eta)
        if self.tally not in get_args(Tally):
            raise ConfigError(f"tally={self.tally!r} is unknown; choose one of {', '.join(get_args(Tally))}")

    def curve(
        self,
        net: nn.Module,
        x: Tensor,
        y: Tensor,
        n_samples: int | None,
        batch_size: int,
        progress: Progress | None,
    ) -> pd.DataFrame:
        """Attack the first samples, or all, and count those that are right at each number of steps."""
        samples = check_samples(net, x, y, n_samples)
        parts = []
        with frozen(net):
            for batch in samples.batches(batch_size, progress):
                noisy = (batch.x + uniform_like(batch, self.delta, self.seed, "pgd")).clamp(0, 1)
                parts.append((*self.climb(net, batch), is_correct(net, noisy, batch.y)))
        correct, dead, under_noise = (torch.cat(part, dim=-1).cpu() for part in zip(*parts, strict=True))
        rows = [self._row(step, correct[step], dead, under_noise) for step in self.steps]
        settings = {
            "delta": self.delta,
            "eta": self.eta,
            "tally": self.tally,
            "seed": self.seed,
            "n_samples": n_samples,
        }
        return frame(rows, threat=f"pixels within Linf {self.delta:.4g}, clipped to [0,1]", settings=settings)

    def climb(self, net: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """Run the trajectory of one batch.

        Returns:
            Which samples are right after each number of steps, (max(steps) + 1, B) bool, where 0 steps are the clean
            images; and which give no gradient at the start, (B,) bool.
        """
        point, reference = self.begin(batch)
        clean = is_correct(net, batch.x, batch.y)
        correct = torch.zeros(max(self.steps) + 1, len(clean), dtype=torch.bool, device=clean.device)
        dead = torch.zeros_like(clean)
        going = (clean if self.tally == "worst" else torch.ones_like(clean)).nonzero()[:, 0]
        point = point.clamp(0, 1)[going]
        for step in range(len(correct)):
            logits, gradient = loss_gradient(net, point, self.loss, reference[going])
            right = logits.argmax(dim=1) == batch.y[going]
            correct[step, going] = right
            if step == 0:
                dead[going] = vanished(gradient, logits, batch.y[going])
            if self.tally == "worst":
                going, point, gradient = going[right], point[right], gradient[right]
            if len(going) == 0:
                break
            point = ascend(point, gradient, batch.x[going], eta=self.eta, delta=self.delta)
        correct[0] = clean
        return correct, dead

    def _row(self, step: int, correct: Tensor, dead: Tensor, under_noise: Tensor) -> dict[str, Any]:
        reaches = step * self.eta >= self.delta
        masked = weaker_than_noise(correct, under_noise) if reaches else ""
        check = flags(masked, zero_gradient(dead)) if step > 0 else ""
        return {"variable": "steps", "value": step, **count(correct), "check": check}
