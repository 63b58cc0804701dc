"""One step of gradient ascent on each sample's own loss: all that the white-box attacks share."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from jacexp.evaluate.frozen import finite_logits

Loss = Callable[[Tensor, Tensor], Tensor]
"""Maps logits (B, C) and what they are compared with (B, ...) to each sample's own loss (B,)."""


def cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """Return each sample's cross-entropy with its label, (B, C), (B,) -> (B,)."""
    return F.cross_entropy(logits, y, reduction="none")


def log_odds(logits: Tensor, y: Tensor) -> Tensor:
    """Return each sample's log-odds against its label, m = log Σ_{k≠y} exp z_k − z_y, (B, C), (B,) -> (B,)."""
    label = F.one_hot(y, logits.shape[1]).bool()
    return logits.masked_fill(label, -torch.inf).logsumexp(dim=1) - logits[label]


def divergence(logits: Tensor, p: Tensor) -> Tensor:
    """Return each sample's Kullback-Leibler divergence KL(p ‖ softmax(logits)), (B, C), (B, C) -> (B,)."""
    return F.kl_div(F.log_softmax(logits, dim=1), p, reduction="none").sum(dim=1)


def loss_gradient(net: nn.Module, x: Tensor, loss: Loss, reference: Tensor) -> tuple[Tensor, Tensor]:
    """Return the logits and ∇ₓL, the gradient of each sample's own loss.

    The losses are summed, not averaged: the mean's gradient is a batch-size-th of a sample's own, and can underflow.

    Args:
        net: maps (B, *in) to logits (B, C), treating samples independently.
        x: pixels, (B, *in).
        loss: of one sample.
        reference: what the loss compares the logits with, (B, ...).

    Returns:
        Logits (B, C) and gradients (B, *in), both detached.
    """
    x = x.detach().requires_grad_()
    logits = finite_logits(net, x)
    (gradient,) = torch.autograd.grad(loss(logits, reference).sum(), x)
    return logits.detach(), gradient


def ascend(point: Tensor, gradient: Tensor, x: Tensor, *, eta: float, delta: float) -> Tensor:
    """Step to Proj[point + eta·sign(gradient)], where ‖point − x‖∞ ≤ delta, in [0,1] (Johansson et al., Eq. 10).

    Args:
        point: where the ascent stands, (B, *in).
        gradient: there, (B, *in).
        x: the centre of the ball, (B, *in).
        eta: step size in pixel units.
        delta: radius of the ball in pixel units.

    Returns:
        The next point, (B, *in).
    """
    offset = (point + eta * gradient.sign() - x).clamp(-delta, delta)
    return (x + offset).clamp(0, 1)
