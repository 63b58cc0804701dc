"""What the products of the passes must equal: double back-propagation, written out."""

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


class DoubleBackward:
    """A network at a batch, with Jᵀu = ∂⟨u, z⟩/∂x and J v = ∂⟨v, Jᵀu⟩/∂u, both with a graph.

    In train mode the logits are those of an ordinary forward pass. J belongs to a second one with the first one's
    batch statistics as constants and its dropout masks (Johansson et al., section 3.1).
    """

    def __init__(self, net: nn.Module, x: Tensor, seed: int = 0) -> None:
        self.x = x.clone().requires_grad_()
        norms = [m for m in net.modules() if isinstance(m, BATCH_NORMS) and m.training]
        statistics = {}

        def record(m: nn.Module, args: tuple[Tensor]) -> None:
            h = args[0].detach().transpose(0, 1).flatten(1)
            statistics[m] = (h.mean(1), h.var(1, correction=0))

        hooks = [m.register_forward_pre_hook(record) for m in norms]
        torch.manual_seed(seed)
        self.logits = net(x)
        for hook in hooks:
            hook.remove()
        for m in norms:
            m.forward = partial(_frozen, m, *statistics[m])
        torch.manual_seed(seed)
        self.z = net(self.x)
        for m in norms:
            del m.forward

    def vjp(self, u: Tensor) -> Tensor:
        return torch.autograd.grad(self.z, self.x, u, create_graph=True)[0]

    def jvp(self, v: Tensor) -> Tensor:
        u = torch.zeros_like(self.z, requires_grad=True)
        return torch.autograd.grad(self.vjp(u), u, v, create_graph=True)[0]


def _frozen(m: nn.Module, mean: Tensor, var: Tensor, x: Tensor) -> Tensor:
    return batch_norm(x, mean, var, m.weight, m.bias, training=False, eps=m.eps)
