"""Fast Tangent BP against the exact Jacobian at the pixels; that it is Loss IBP is in test_theorems.py."""

import pytest
import torch
from torch.autograd.functional import jacobian
from torch.nn.functional import cross_entropy, one_hot

from tests.laws import batch, make, penalty
from tests.networks import N_CLASSES, network


def slopes(net, of, *, constant=True):
    """(p - y)ᵀ J t of each sample and tangent, (B, T), at the images in [0, 1] and through the normalisation."""
    at_the_pixels = torch.stack([jacobian(lambda x: net(x[None])[0], x, create_graph=True) for x in of.x])
    dz = net(of.x).softmax(1) - one_hot(of.y, N_CLASSES)
    return torch.einsum("bc,bcijk,btijk->bt", dz.detach() if constant else dz, at_the_pixels, of.tangents)


@pytest.mark.parametrize("name", ["mlp", "conv", "dropout_and_batch_norm"])
def test_each_term_is_the_slope_of_the_loss_along_a_tangent(name):
    """Eq. 10 for each tangent: its absolute value by default, and as it is printed with ``signed``."""
    net, of = network(name).eval(), batch()
    expected = slopes(net, of)
    absolute, signed = (penalty(make("fast_tbp", net, **s), of) for s in ({}, {"signed": True}))
    torch.testing.assert_close(absolute, expected.abs().sum(1))
    torch.testing.assert_close(signed, expected.sum(1))
    assert (expected < 0).any(1).all(), "in every sample a term whose sign matters"
    assert (expected > 0).any(1).all()


@pytest.mark.parametrize("signed", [False, True])
def test_its_gradient_holds_p_minus_y_constant(signed):
    net, of = network("conv"), batch()
    parameters = list(net.parameters())

    def gradient_of(terms):
        values = (terms if signed else terms.abs()).sum(1)
        return torch.autograd.grad(cross_entropy(net(of.x), of.y) + 0.7 * values.mean(), parameters)

    found = torch.autograd.grad(make("fast_tbp", net, beta=0.7, signed=signed).terms(of, {}).loss, parameters)
    torch.testing.assert_close(found, gradient_of(slopes(net, of)))
    through = gradient_of(slopes(net, of, constant=False))
    assert not torch.allclose(through[0], found[0], rtol=0.01), "p - y must matter here"
