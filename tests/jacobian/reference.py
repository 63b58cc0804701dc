"""What the passes must equal: the papers' losses by double back-propagation, written from the equations."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm, cross_entropy

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


def l1(t: Tensor) -> Tensor:
    return t.flatten(1).abs().sum(1)


def l2(t: Tensor) -> Tensor:
    return t.flatten(1).norm(dim=1)


def gradient_of_loss(lin: DoubleBackward, y: Tensor, hessian: bool = False) -> Tensor:
    """∇ₓL of each sample's own loss, with p − y constant or not."""
    dy = lin.logits.softmax(1) - nn.functional.one_hot(y, lin.logits.shape[1])
    return lin.vjp(dy if hessian else dy.detach())


def spectral(
    lin: DoubleBackward, y: Tensor, v: Tensor, n_iter: int = 1, power: int = 1, detach: bool = True
) -> Tensor:
    for _ in range(n_iter):
        u = lin.jvp(v / l2(v).view(-1, 1, 1, 1))
        u = u / u.norm(dim=1, keepdim=True)
        v = lin.vjp(u.detach() if detach else u)
    return l2(v) ** power


def frobenius(lin: DoubleBackward, y: Tensor, u: Tensor) -> Tensor:
    return u.shape[-1] / len(u) * sum(l2(lin.vjp(u_j)) ** 2 for u_j in u)


def loss_ibp(lin: DoubleBackward, y: Tensor, r: int = 1, hessian: bool = False) -> Tensor:
    g = gradient_of_loss(lin, y, hessian)
    return l1(g) if r == 1 else l2(g) ** 2 / 2


def pred_ibp(lin: DoubleBackward, y: Tensor) -> Tensor:
    return l1(lin.jvp(gradient_of_loss(lin, y).detach()))


def tbp(lin: DoubleBackward, y: Tensor, tangents: Tensor) -> Tensor:
    return sum(l1(lin.jvp(t)) for t in tangents.unbind(1))


def fast_tbp(
    lin: DoubleBackward, y: Tensor, tangents: Tensor, signed: bool = False, hessian: bool = False
) -> Tensor:
    g = gradient_of_loss(lin, y, hessian)
    terms = [(g * t).flatten(1).sum(1) for t in tangents.unbind(1)]
    return sum(terms) if signed else sum(t.abs() for t in terms)


def penalized(
    penalty: Callable[..., Tensor], strength: float, net: nn.Module, x: Tensor, y: Tensor
) -> Tensor:
    """mean(CE) + strength · mean(penalty)."""
    lin = DoubleBackward(net, x)
    return cross_entropy(lin.logits, y) + strength * penalty(lin, y).mean()


def adversarial(net: nn.Module, x: Tensor, y: Tensor, epsilon: Tensor, fast: bool = False) -> Tensor:
    """½(CE(x) + CE(x*)), where x moves the running statistics, or CE(x*), where x* does."""
    before = {name: b.clone() for name, b in net.named_buffers()}
    lin = DoubleBackward(net, x)
    x_star = x + epsilon * gradient_of_loss(lin, y).detach().sign()
    if fast:
        net.load_state_dict(before, strict=False)
        return cross_entropy(net(x_star), y)
    spare = {name: b.clone() for name, b in net.named_buffers()}
    loss = cross_entropy(torch.func.functional_call(net, spare, x_star), y)
    return (cross_entropy(lin.logits, y) + loss) / 2
