"""What the methods of invariant backpropagation share: the gradient of each sample's own loss at the logits."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import Tensor, nn
from torch.nn.functional import one_hot, softmax
from torch.nn.modules.batchnorm import _BatchNorm

from jacexp.jacobian.linearize import Linearization
from jacexp.jacobian.step import Factor, Passed, Step, scaled


def residual(logits: Tensor, y: Tensor) -> Tensor:
    """Compute softmax(z) minus the one-hot class, p - y, the gradient of each sample's *own* cross-entropy.

    Taken from a mean over the batch it would be 1/B of that, and so would every strength.

    Args:
        logits: z, (B, C).
        y: classes, (B,).

    Returns:
        p - y, (B, C), differentiable with respect to the logits.
    """
    return softmax(logits, dim=1) - one_hot(y, logits.shape[1])


def loss_gradient(lin: Linearization, y: Tensor) -> Tensor:
    """Compute ∇ₓL = Jᵀ(p - y) of each sample's own loss, (B, *in), p - y held constant (Demyanov et al., Eq. 1)."""
    return lin.vjp(residual(lin.logits, y).detach())


def passes_of_gradient(
    step: Step, strength: Factor, norm: Callable[[Tensor], tuple[Tensor, Tensor]]
) -> Tensor:
    """Run F(y), Bx(dy), F(w), Bw(y + w̃)ᵀdy for a penalty R(g) of g = ∇ₓL = Jᵀ(p - y), with p - y constant.

    Its gradient is that of ⟨p - y, J w⟩, w = strength · ∂R/∂g. The adjoints are those of the loss itself, so one
    product serves both: (y + ỹ)ᵀ dy (Demyanov et al., section 3.3).

    Args:
        step: the batch.
        strength: what multiplies the penalty.
        norm: computes R, (B,), and ∂R/∂g, (B, *in), from g.

    Returns:
        R of each sample, (B,).
    """
    adjoints: Passed = {}
    penalty, w = norm(step.lin.backward(step.dy, loss=True, shared=True, seen=adjoints.__setitem__))
    apart = step.lin.apart
    step.lin.forward(
        scaled(w, strength), lambda i, v: step.add(i, [v], [adjoints.pop(i)], shared=not apart[i + 1])
    )
    return penalty


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
