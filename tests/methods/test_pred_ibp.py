"""Prediction IBP against the exact Jacobian."""

import pytest
import torch
from torch.nn.functional import one_hot

from jacexp.jacobian import exact_jacobian
from tests.laws import batch, make, penalty
from tests.networks import N_CLASSES, network


def jacobian_and_residual(net, of):
    """J of the logits at the normalised images, (B, C, D), and p - y, (B, C)."""
    jacobian = exact_jacobian(net.body, net.normalize(of.x), engine="autograd").flatten(2)
    return jacobian, net(of.x).softmax(1) - one_hot(of.y, N_CLASSES)


def gradients(value, net):
    return list(torch.autograd.grad(value, list(net.parameters()), materialize_grads=True))


@pytest.mark.parametrize("name", ["mlp", "conv", "batch_norm", "attention"])
def test_the_penalty_is_the_l1_norm_of_the_change_along_the_gradient(name):
    """Eq. 9: ‖J d‖₁ with d = Jᵀ(p - y), neither its sign nor normalised, without the softmax's Jacobian."""
    net, of = network(name), batch()
    jacobian, dz = jacobian_and_residual(net, of)
    expected = torch.einsum("bci,bdi,bd->bc", jacobian, jacobian, dz).abs().sum(1)
    torch.testing.assert_close(penalty(make("pred_ibp", net), of), expected)


def test_its_gradient_holds_the_direction_constant():
    net, of = network("conv"), batch()

    def written_out(constant):
        jacobian, dz = jacobian_and_residual(net, of)
        d = torch.einsum("bci,bc->bi", jacobian, dz)
        Jd = torch.einsum("bci,bi->bc", jacobian, d.detach() if constant else d)
        return gradients(Jd.abs().sum(), net)

    found = gradients(penalty(make("pred_ibp", net), of).sum(), net)
    torch.testing.assert_close(found, written_out(constant=True))
    assert not any(gradient.any() for gradient in found[1::2]), "biases get nothing"
    through = written_out(constant=False)
    assert not torch.allclose(through[0], found[0], rtol=0.1), "differentiating d must make a difference here"


def test_the_loss_is_cross_entropy_plus_beta_times_the_mean():
    net, of = network("conv"), batch()
    terms = make("pred_ibp", net, beta=0.7).terms(of, {})
    torch.testing.assert_close(terms.loss, terms.cross_entropy.mean() + 0.7 * terms.penalty.mean())
    torch.testing.assert_close(
        terms.cross_entropy, torch.nn.functional.cross_entropy(net(of.x), of.y, reduction="none")
    )


def test_through_the_softmax_it_is_the_norm_of_what_probabilities_change_by():
    """‖P J d‖₁, P = diag p − p pᵀ written out; its gradient holds d and P constant, and biases get nothing."""
    net, of = network("conv"), batch()
    jacobian, dz = jacobian_and_residual(net, of)
    p = net(of.x).softmax(1).detach()
    softmax = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
    d = torch.einsum("bci,bc->bi", jacobian, dz).detach()
    value = torch.einsum("bcd,bdi,bi->bc", softmax, jacobian, d).abs().sum(1)
    found = penalty(make("pred_ibp", net, softmax="included"), of)
    torch.testing.assert_close(found, value)
    expected = gradients(value.sum(), net)
    torch.testing.assert_close(gradients(found.sum(), net), expected)
    assert not any(gradient.any() for gradient in expected[1::2])
