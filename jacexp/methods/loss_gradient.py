"""What the methods of invariant backpropagation share: the gradient of each sample's own loss at the logits."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn
from torch.nn.functional import one_hot, softmax
from torch.nn.modules.batchnorm import _BatchNorm

from jacexp.jacobian import Linearization


def residual(logits: Tensor, y: Tensor) -> Tensor:
    """Give softmax(z) minus the one-hot class, p - y, the gradient of each sample's *own* cross-entropy.

    Taken from a mean over the batch it would be 1/B of that, and so would every strength.

    Args:
        logits: z, (B, C).
        y: classes, (B,).

    Returns:
        p - y, (B, C), differentiable with respect to the logits.
    """
    return softmax(logits, dim=1) - one_hot(y, logits.shape[1])


def loss_gradient(lin: Linearization, y: Tensor) -> Tensor:
    """Give ∇ₓL = Jᵀ(p - y) of each sample's own loss, (B, *in), with p - y held constant (Demyanov et al., Eq. 1)."""
    return lin.vjp(residual(lin.logits, y).detach())


@contextmanager
def still_statistics(net: nn.Module) -> Iterator[None]:
    """Let train-mode batch norm normalise by the batch inside, but not move its running statistics."""
    moving = [m for m in net.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    for norm in moving:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in moving:
            norm.track_running_stats = True
