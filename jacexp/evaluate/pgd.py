"""Projected gradient ascent: the accuracies at every number of steps, from one trajectory."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd
import torch
from torch import Tensor, nn

from jacexp.evaluate.ascent import Loss, ascend, cross_entropy, divergence, loss_gradient
from jacexp.evaluate.checks import flags, vanished, weaker_than_noise, zero_gradient
from jacexp.evaluate.draws import normal_like, uniform_like
from jacexp.evaluate.frozen import finite_logits, frozen, is_correct
from jacexp.evaluate.points import count, points
from jacexp.evaluate.samples import Batch, Samples
from jacexp.evaluate.settings import Counts, Positive, Seed, checked

Tally = Literal["final", "worst"]


@checked
def pgd(
    samples: Samples,
    *,
    steps: Counts,
    delta: Positive = 32 / 255,
    eta: Positive = 2 / 255,
    tally: Tally = "final",
    seed: Seed = 0,
) -> pd.DataFrame:
    """Count what stays right under projected gradient ascent on the cross-entropy (Johansson et al., Eq. 10, Figure 3).

    x ← Proj[x + eta·sign(∇ₓL)], from clip(x + U(−delta, delta)), as in ``torchattacks.PGD``. 0 steps are the clean
    images, not the random start. With ``tally="final"`` the counts are those of ``torchattacks.PGD(steps=s)`` at each
    s: every sample is attacked, and one that was wrong can come out right. With ``worst`` a sample counts only while
    the image and all its iterates are right: a stronger attack, which drops the samples it has won.

    Args:
        samples: of a network.
        steps: numbers of steps; all come from one trajectory.
        delta: radius of the L∞ ball in [0,1] pixel units.
        eta: step size in [0,1] pixel units.
        tally: ``final`` (torchattacks) or ``worst``.
        seed: of the random start; networks evaluated with one seed start at the same points, in batches of any size.

    Returns:
        One row a number of steps, with the flags ``weaker_than_noise`` (noise U(−delta, delta), where the steps reach
        across the ball's radius) and ``zero_gradient``.
    """

    def begin(batch: Batch) -> tuple[Tensor, Tensor]:
        return batch.x + uniform_like(batch, delta, seed, "pgd"), batch.y

    return Attack(cross_entropy, begin, steps, delta, eta, tally, seed).curve(samples)


@checked
def tpgd(
    samples: Samples,
    *,
    steps: Counts,
    delta: Positive = 32 / 255,
    eta: Positive = 2 / 255,
    tally: Tally = "final",
    seed: Seed = 0,
) -> pd.DataFrame:
    """Count what stays right under projected gradient ascent on KL(p(x) ‖ p(x*)) (Zhang et al. 2019, TRADES).

    x* ← Proj[x* + eta·sign(∇KL)], from clip(x + 0.001·N(0, I)), as in ``torchattacks.TPGD``. The attack never sees the
    labels; they are for counting. 0 steps are the clean images.

    Args:
        samples: of a network.
        steps: as all settings, see `pgd`.
        delta: radius of the L∞ ball.
        eta: step size.
        tally: ``final`` or ``worst``.
        seed: of the random start.

    Returns:
        One row a number of steps, flagged as in `pgd`.
    """

    def begin(batch: Batch) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            p = finite_logits(samples.net, batch.x).softmax(dim=1)
        return batch.x + 0.001 * normal_like(batch, seed, "tpgd"), p

    return Attack(divergence, begin, steps, delta, eta, tally, seed).curve(samples)


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
    """

    loss: Loss
    begin: Callable[[Batch], tuple[Tensor, Tensor]]
    steps: Counts
    delta: float
    eta: float
    tally: Tally
    seed: int

    def curve(self, samples: Samples) -> pd.DataFrame:
        """Attack the samples and count those that are right at each number of steps."""
        net = samples.net
        parts = []
        with frozen(net):
            for batch in samples.batches():
                noisy = (batch.x + uniform_like(batch, self.delta, self.seed, "pgd")).clamp(0, 1)
                parts.append((*self.climb(net, batch), is_correct(net, noisy, batch.y)))
        correct, dead, under_noise = (torch.cat(part, dim=-1).cpu() for part in zip(*parts, strict=True))
        rows = [self._row(step, correct[step], dead, under_noise) for step in self.steps]
        return points(rows, threat=f"pixels within Linf {self.delta:.4g}, clipped to [0,1]")

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
