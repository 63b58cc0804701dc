"""Loss IBP against the three passes of Demyanov et al., Algorithm 1, in plain tensor algebra."""

import pytest
import torch
from torch.nn.functional import cross_entropy, fold, max_pool2d, one_hot, unfold

from jacexp.jacobian import exact_jacobian
from tests.laws import batch, make, penalty
from tests.networks import N_CLASSES, network

START = {1: torch.sign, 2: torch.clone}
"""What the third pass starts from, dỹ₀ = ∂L̃/∂dy₀ (section 7.1), by the norm r."""


def loss_layer(z, y):
    """dz = p - y, the gradient of each sample's own loss."""
    return z.softmax(1) - one_hot(y, N_CLASSES)


def two_layer_passes(body, y0, y, start):
    """dy₀, then dw and dw̃ of [W₁, b₁, W₂, b₂], summed over samples, for linear - ReLU - linear."""
    _, first, _, last = body
    y0 = y0.flatten(1)
    y1 = y0 @ first.weight.T + first.bias
    active = (y1 > 0).double()
    y2 = y1 * active
    dy3 = loss_layer(y2 @ last.weight.T + last.bias, y)
    dy1 = dy3 @ last.weight * active
    dy0 = dy1 @ first.weight
    t0 = start(dy0)  # the third pass: the same weights, no biases, the same units
    t2 = t0 @ first.weight.T * active
    dw = [dy1.T @ y0, dy1.sum(0), dy3.T @ y2, dy3.sum(0)]
    return dy0, dw, [dy1.T @ t0, torch.zeros(10), dy3.T @ t2, torch.zeros(4)]


def convolutional_passes(body, y0, y, start):
    """The same for convolution - ReLU - max pool - linear; the convolution is a product with patches of 3 × 3."""
    conv, *_, last = body
    kernel = conv.weight.flatten(1)  # (3, 18)
    patches = unfold(y0, 3)  # (B, 18, 36)
    y1 = kernel @ patches + conv.bias[:, None]  # (B, 3, 36)
    active = (y1 > 0).double()
    y2 = y1 * active
    chosen = max_pool2d(y2.view(-1, 3, 6, 6), 3, stride=2, return_indices=True)[1].flatten(2)  # (B, 3, 4)
    y3 = y2.gather(2, chosen).flatten(1)
    dy4 = loss_layer(y3 @ last.weight.T + last.bias, y)
    dy3 = (dy4 @ last.weight).view_as(chosen)
    dy2 = torch.zeros_like(y2).scatter_add(2, chosen, dy3)  # windows overlap, so what they send back adds up
    dy1 = dy2 * active
    dy0 = fold(kernel.T @ dy1, (8, 8), 3)
    t0 = start(dy0)
    t2 = kernel @ unfold(t0, 3) * active
    t3 = t2.gather(2, chosen).flatten(1)  # the positions of the first pass, whatever is there now

    def kernel_gradient(patches):
        return torch.einsum("boi,bki->ok", dy1, patches).view_as(conv.weight)

    dw = [kernel_gradient(patches), dy1.sum((0, 2)), dy4.T @ y3, dy4.sum(0)]
    return dy0, dw, [kernel_gradient(unfold(t0, 3)), torch.zeros(3), dy4.T @ t3, torch.zeros(4)]


PASSES = {"mlp": two_layer_passes, "conv": convolutional_passes}


def gradients(value, net):
    return list(torch.autograd.grad(value, list(net.parameters()), materialize_grads=True))


@pytest.mark.parametrize("r", [1, 2])
@pytest.mark.parametrize("name", PASSES)
@torch.no_grad()
def test_weights_move_as_the_three_passes_say(name, r):
    """Eq. 8: dw + beta dw̃, the mean over samples, with dw̃ = dỹᵀ dy (Eq. 16) and nothing for the biases."""
    net, of, beta = network(name), batch(), 0.7
    dy0, dw, dw_tilde = PASSES[name](net.body, net.normalize(of.x), of.y, START[r])
    with torch.enable_grad():
        terms = make("loss_ibp", net, beta=beta, r=r).terms(of, {})
        found = gradients(terms.loss, net)
    expected = [(d + beta * t) / len(of.x) for d, t in zip(dw, dw_tilde, strict=True)]
    torch.testing.assert_close(found, expected)
    norm = dy0.flatten(1).abs().sum(1) if r == 1 else dy0.flatten(1).square().sum(1) / 2
    torch.testing.assert_close(terms.penalty, norm)
    assert all(t.abs().max() > 0.1 for t in dw_tilde[::2]), "the third pass must matter here"


@pytest.mark.parametrize("r", [1, 2])
@pytest.mark.parametrize("name", ["mlp", "conv", "batch_norm", "residual"])
def test_biases_get_nothing_from_the_penalty(name, r):
    """7.2: the third pass adds no biases and computes no gradients of them; with the Hessian it would."""
    for hessian in (False, True):
        net = network(name)
        last = net.body[-1].bias
        value = penalty(make("loss_ibp", net, r=r, hessian=hessian), batch()).sum()
        (found,) = torch.autograd.grad(value, last, materialize_grads=True)
        assert found.any() == hessian


@pytest.mark.parametrize("name", ["mlp", "conv", "dropout"])
@pytest.mark.parametrize("r", [1, 2])
def test_double_back_propagation_adds_exactly_the_hessian_term(name, r):
    """∂L̃/∂w = the third pass + ⟨∂(p - y)/∂w, J dỹ₀⟩, the second through the softmax's Jacobian."""
    net, of = network(name).eval(), batch()  # in eval mode "dropout" is a smooth network of tanh
    third, full = (
        gradients(penalty(make("loss_ibp", net, r=r, hessian=h), of).sum(), net) for h in (False, True)
    )
    x = net.normalize(of.x).requires_grad_()
    ce = cross_entropy(net.body(x), of.y, reduction="sum")
    (dx,) = torch.autograd.grad(ce, x, create_graph=True)
    twice = dx.abs().sum() if r == 1 else dx.square().sum() / 2
    torch.testing.assert_close(full, gradients(twice, net))

    z = net.body(x)
    p = z.detach().softmax(1)
    jacobian = exact_jacobian(net.body, x, engine="autograd")
    along = torch.einsum("bcijk,bijk->bc", jacobian, START[r](dx)).detach()
    through_softmax = p * along - p * (p * along).sum(1, keepdim=True)
    term = gradients((z * through_softmax).sum(), net)
    torch.testing.assert_close([f - t for f, t in zip(full, third, strict=True)], term)
    assert all(t.abs().max() > 0.01 for t in term), "the Hessian must matter here"


def test_many_copies_of_a_batch_are_one():
    """Means over samples of what each one's own loss gives: a gradient of the mean loss would shrink with the batch."""
    of = batch()
    copies = of._replace(x=of.x.repeat(3, 1, 1, 1), y=of.y.repeat(3))
    net = network("conv")
    once, thrice = (make("loss_ibp", net, beta=1.0).terms(b, {}) for b in (of, copies))
    torch.testing.assert_close(thrice.loss, once.loss)
    torch.testing.assert_close(thrice.penalty, once.penalty.repeat(3))
    torch.testing.assert_close(gradients(thrice.loss, net), gradients(once.loss, net))
