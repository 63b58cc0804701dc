"""Tangent BP against the exact Jacobian at the pixels, and what it asks of its tangents."""

import pytest
import torch
from torch.autograd.functional import jacobian

from jacexp.data import Batch, Tangents
from jacexp.errors import ConfigError
from jacexp.jacobian import exact_jacobian
from jacexp.models import Network, Normalize
from tests.laws import batch, make, penalty
from tests.networks import IMAGE, network


def at_the_pixels(net, of):
    """dz/dx of each sample at its image in [0, 1], through the normalisation, (B, C, *in)."""
    return torch.stack([jacobian(lambda x: net(x[None])[0], x, create_graph=True) for x in of.x])


@pytest.mark.parametrize("name", ["mlp", "conv", "batch_norm"])
def test_the_penalty_sums_the_change_of_the_logits_along_each_tangent(name):
    """Eq. 3, r = 1: Σ_t ‖J t‖₁, with pixels for t and J alike, whatever the normalisation divides by."""
    net, of = network(name).eval(), batch()
    along = torch.einsum("bcijk,btijk->btc", at_the_pixels(net, of), of.tangents)
    torch.testing.assert_close(penalty(make("tbp", net), of), along.abs().sum((1, 2)))


def test_its_gradient_is_that_of_the_written_out_sum():
    net, of = network("conv"), batch()
    parameters = list(net.parameters())
    terms = make("tbp", net, beta=0.7).terms(of, {})
    along = torch.einsum("bcijk,btijk->btc", at_the_pixels(net, of), of.tangents)
    loss = torch.nn.functional.cross_entropy(net(of.x), of.y) + 0.7 * along.abs().sum() / len(of.x)
    torch.testing.assert_close(terms.loss, loss)
    found, expected = (torch.autograd.grad(value, parameters) for value in (terms.loss, loss))
    torch.testing.assert_close(found, expected)


def test_a_network_that_does_not_see_shifts_pays_for_scalings_alone():
    """The sum over all pixels of a blob stays as it is where the blob moves, and changes where it shrinks."""
    shape, std = (1, 24, 24), torch.full((1, 1, 1), 0.5)
    body = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(24 * 24, 3))
    torch.nn.init.ones_(body[1].weight)
    module = make("tbp", Network(Normalize(std, std), body, 3))
    x = torch.zeros(1, *shape)
    x[..., 11:13, 11:13] = 1.0
    tangents = module.method.tangents(shape, torch.device("cpu"))(x)

    def pays(name):
        t = tangents[:, [Tangents.names.index(name)]]
        return penalty(module, Batch(x, torch.tensor([0]), t)).item()

    # ∫ X s_x = -∫ s, which is 4 pixels of 1 / 0.5; and that in each of 3 logits
    expected = {"shift_x": 0, "shift_y": 0, "scale_x": 24, "scale_y": 24, "rotation": 0}
    assert {name: pays(name) for name in Tangents.names} == pytest.approx(expected, rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("name", ["tbp", "fast_tbp"])
def test_the_switches_of_the_tangents_arrive_there(name):
    x = batch(dtype=torch.float32).x
    module = make(name, network("conv"), sigma=1.3, tangent_unit="half_side", border="zero")
    made = module.method.tangents(IMAGE, torch.device("cpu"))(x)
    assert torch.equal(made, Tangents(IMAGE, sigma=1.3, unit="half_side", border="zero")(x))
    default = make(name, network("conv")).method.tangents(IMAGE, torch.device("cpu"))(x)
    assert torch.equal(default, Tangents(IMAGE, sigma=0.9, unit="pixel", border="replicate")(x))


@pytest.mark.parametrize("name", ["tbp", "fast_tbp"])
def test_wrong_use_is_refused(name):
    with pytest.raises(ConfigError, match="batches with tangents"):
        penalty(make(name, network("mlp")), batch()._replace(tangents=None))
    with pytest.raises(ConfigError, match=r"tangents need images \(C, H, W\)"):
        make(name, network("mlp")).method.tangents((64,), torch.device("cpu"))


def test_through_the_softmax_it_is_the_norm_of_what_probabilities_change_by():
    """Σ_t ‖P J t‖₁, P = diag p − p pᵀ written out; its gradient holds P constant."""
    net, of = network("conv"), batch()
    jacobian = exact_jacobian(net.body, net.normalize(of.x), engine="autograd").flatten(2)
    t = net.normalize.direction(of.tangents).flatten(2)
    p = net(of.x).softmax(1)

    def value(p):
        softmax = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
        return torch.einsum("bcd,bdi,bti->btc", softmax, jacobian, t).abs().sum((1, 2))

    found = penalty(make("tbp", net, softmax="included"), of)
    torch.testing.assert_close(found, value(p))
    parameters = list(net.parameters())
    held, through = (
        torch.autograd.grad(value(q).sum(), parameters, retain_graph=True, materialize_grads=True)
        for q in (p.detach(), p)
    )
    torch.testing.assert_close(torch.autograd.grad(found.sum(), parameters, materialize_grads=True), held)
    assert not torch.allclose(held[0], through[0], rtol=0.01), "holding P constant must matter here"
