"""The exhibit of the toolbox's max pooling, against a network whose windows are written out one by one."""

import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from jacexp.data import Batch
from jacexp.jacobian import value_and_grads
from jacexp.jacobian.passes import PassesLinearization
from jacexp.models import Network, Normalize
from tests.laws import make
from tests.networks import labels, normals

EXAMPLE = Path(__file__).parents[1] / "examples" / "toolbox_pooling"
N, BETA = 4, 0.3
X, Y = normals(N, 1, 9, 9), labels(N)
TANGENTS = normals(N, 3, 1, 9, 9, seed=1)


@pytest.fixture(scope="module")
def exhibit():
    """The example's module, which a user would have on PYTHONPATH."""
    sys.path.insert(0, str(EXAMPLE))
    import toolbox_pooling

    yield toolbox_pooling
    sys.path.remove(str(EXAMPLE))


def network(pool, seed=0):
    torch.manual_seed(seed)
    layers = nn.Conv2d(1, 3, 3), nn.ReLU(), pool(3, stride=2), nn.Flatten(), nn.Linear(27, 4)
    return nn.Sequential(*layers).double()


def windows(y):
    """Map each window of each image and channel to the pixel of its maximum, and list those alone at theirs."""
    best = {}
    for i, c, r, q in torch.cartesian_prod(*(torch.arange(n) for n in (N, 3, 3, 3))).tolist():
        a, b = divmod(int(y[i, c, 2 * r : 2 * r + 3, 2 * q : 2 * q + 3].argmax()), 3)
        best[i, c, r, q] = (i, c, 2 * r + a, 2 * q + b)
    places = list(best.values())
    return best, [window for window, place in best.items() if places.count(place) == 1]


def linear(net, v, *, dropped):
    """J v, or the penalty's network J̃ v, a function of the weights for autograd; v is (N, 1, 9, 9)."""
    conv, full = net[0], net[-1]
    y = conv(X).detach().relu()
    v = torch.conv2d(v, conv.weight) * (y > 0)
    best, alone = windows(y)
    pooled = torch.zeros(N, 3, 3, 3, dtype=v.dtype)
    for window in alone if dropped else best:
        pooled[window] = v[best[window]]
    return pooled.flatten(1) @ full.weight.T


def penalty_and_gradients(method, net):
    """The penalty of each sample, and the gradient of beta times its mean by the two layers' weights."""
    x = X.clone().requires_grad_()
    d = torch.autograd.grad(nn.functional.cross_entropy(net(x), Y, reduction="sum"), x)[0]
    weights = [net[0].weight, net[-1].weight]
    if method == "loss_ibp":  # the second pass is the loss's, exact; the third loses windows
        dy = (net(X).softmax(1) - nn.functional.one_hot(Y, 4)).detach()
        products = [(dy * linear(net, d.sign(), dropped=dropped)).sum() for dropped in (False, True)]
        pairs = zip(products, weights, strict=True)
        gradients = [torch.autograd.grad(product, weight)[0] for product, weight in pairs]
        return d.abs().flatten(1).sum(1), [BETA / N * g for g in gradients]
    along = [d] if method == "pred_ibp" else list(TANGENTS.unbind(1))
    penalty = sum(linear(net, v, dropped=True).abs().sum(1) for v in along)
    return penalty.detach(), list(torch.autograd.grad(BETA * penalty.mean(), weights))


def step(net, method):
    """The project's own passes."""
    as_it_is = Normalize(torch.zeros(1, 1, 1), torch.ones(1, 1, 1))
    module = make(method, Network(as_it_is, nn.Identity(), 4))
    batch = Batch(X, Y, TANGENTS)
    terms, gradients = value_and_grads(
        net, X, Y, module.method.objective(batch, lambda _: {}, BETA, as_it_is)
    )
    return terms.penalty, gradients


@pytest.mark.parametrize("method", ["loss_ibp", "pred_ibp", "tbp"])
def test_windows_that_share_their_maximum_pass_nothing_in_a_penalty(exhibit, method):
    net, exact = network(exhibit.ToolboxMaxPool2d), network(nn.MaxPool2d)
    best, alone = windows(net[0](X).relu())
    assert 0.2 < len(alone) / len(best) < 0.8
    penalty, gradients = penalty_and_gradients(method, exact)
    nn.functional.cross_entropy(exact(X), Y).backward()
    ours, total = step(net, method)
    assert torch.allclose(ours, penalty, rtol=1e-12)
    for name, gradient in zip(("0.weight", "4.weight"), gradients, strict=True):
        of_loss = exact.get_parameter(name).grad
        assert torch.allclose(total[name], of_loss + gradient, rtol=1e-10, atol=1e-14), name
    _, plainly = step(exact, method)
    assert not torch.allclose(total["4.weight"], plainly["4.weight"], rtol=1e-3)


def test_the_penaltys_network_is_linear_with_its_transpose(exhibit):
    lin = PassesLinearization(network(exhibit.ToolboxMaxPool2d), X)
    v, u = normals(3 * N, 1, 9, 9, seed=2), normals(3 * N, 4, seed=3)
    assert torch.allclose((lin.jvp(v) * u).sum(), (v * lin.vjp(u)).sum(), rtol=1e-12)


def test_its_network_is_convnet_mnist_with_that_pooling(exhibit):
    net = exhibit.convnet_mnist((1, 28, 28), 10)
    pools = [layer for layer in net if isinstance(layer, nn.MaxPool2d)]
    assert {type(layer) for layer in pools} == {exhibit.ToolboxMaxPool2d}
    assert [p.numel() for p in net.parameters()] == [512, 32, 51200, 64, 409600, 256, 2560, 10]
