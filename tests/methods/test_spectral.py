"""l2, spec, frob and spec_bound against their equations."""

import pytest
import torch
from torch import nn

from jacexp.jacobian import exact_jacobian
from jacexp.methods.spec_bound import input_shapes
from jacexp.random import make_generator
from tests.laws import batch, drawn, make, penalty
from tests.networks import network


def jacobian(net, of):
    """J at the output of the normalisation, (B, C, D)."""
    return exact_jacobian(net.body, net.normalize(of.x), engine="autograd").flatten(2)


@pytest.mark.parametrize("net", ["conv", "batch_norm"])
def test_spec_follows_algorithm_1_at_the_normalised_input(net):
    module, of = make("spec", network(net), n_iter=2), batch()
    v = drawn(module, of.x)["v"].flatten(1)
    j = jacobian(network(net), of)
    for _ in range(2):
        u = torch.einsum("bci,bi->bc", j, v / v.norm(dim=1, keepdim=True))
        v = torch.einsum("bci,bc->bi", j, u / u.norm(dim=1, keepdim=True))
    torch.testing.assert_close(penalty(module, of), v.norm(dim=1))


def test_spec_holds_u_constant():
    """d σ̂ = d ‖Jᵀû‖ at fixed û, by automatic differentiation of the written-out Jacobian."""
    net, of = network("mlp"), batch(3)
    module = make("spec", net)
    v = drawn(module, of.x)["v"].flatten(1)
    j = jacobian(net, of)
    u = nn.functional.normalize(torch.einsum("bci,bi->bc", j, v), dim=1).detach()
    parameters = list(net.parameters())
    norms = torch.einsum("bci,bc->bi", j, u).norm(dim=1)
    expected = torch.autograd.grad(norms.sum(), parameters, allow_unused=True)
    found = torch.autograd.grad(penalty(module, of).sum(), parameters, allow_unused=True)
    for one, other in zip(found, expected, strict=True):
        if other is not None:
            torch.testing.assert_close(one, other)
    through = torch.autograd.grad(penalty(make("spec", net, detach=False), of).sum(), net.body[1].weight)[0]
    assert not torch.allclose(through, found[0], rtol=1e-3), "differentiating û must make a difference here"


def test_spec_loss_is_cross_entropy_plus_lam_times_the_mean():
    of = batch()
    module = make("spec", network("conv"), lam=0.7)
    terms = module.terms(of, drawn(module, of.x))
    ce = nn.functional.cross_entropy(module.net(of.x), of.y)
    torch.testing.assert_close(terms.loss, ce + 0.7 * terms.penalty.mean())
    squared = make("spec", module.net, power=2)
    torch.testing.assert_close(penalty(squared, of), terms.penalty.square())


def test_frob_is_the_squared_norm_without_a_half():
    net, of = network("conv"), batch()
    j = jacobian(net, of)
    torch.testing.assert_close(penalty(make("frob", net, n_proj=0), of), j.square().sum((1, 2)))
    module = make("frob", net, n_proj=3)
    u = drawn(module, of.x)["u"]
    torch.testing.assert_close(u.norm(dim=-1), torch.ones(3, 5, dtype=torch.float64))
    rows = torch.einsum("bci,nbc->nbi", j, u)
    torch.testing.assert_close(penalty(module, of), 4 / 3 * rows.square().sum((0, 2)))


def test_l2_is_of_weights_alone():
    net, of = network("batch_norm"), batch()
    convolution, last = net.body[0].weight, net.body[-1].weight
    total = convolution.square().sum() + last.square().sum()
    torch.testing.assert_close(penalty(make("l2", net), of), total)
    torch.testing.assert_close(penalty(make("l2", net, form="weight_decay"), of), total / 2)


def test_weight_decay_form_is_what_an_optimizer_adds():
    of = batch()
    ours, theirs = make("l2", network("mlp"), form="weight_decay", lam=0.3), make("none", network("mlp"))
    weights = [p for p in theirs.net.parameters() if p.ndim > 1]
    optimizer = torch.optim.SGD([{"params": weights, "weight_decay": 0.3}], lr=0.1)
    theirs.training_step(of, 0).backward()
    optimizer.step()
    descent = torch.optim.SGD([p for p in ours.net.parameters() if p.ndim > 1], lr=0.1)
    noise = {}
    ours.terms(of, noise).loss.backward()
    descent.step()
    for mine, his in zip(ours.net.parameters(), theirs.net.parameters(), strict=True):
        torch.testing.assert_close(mine, his)


def matrices(net):
    return [m.weight.flatten(1) for m in net.modules() if isinstance(m, nn.Linear | nn.Conv2d)]


def test_spec_bound_sums_one_power_iteration_of_each_weight():
    net, of = network("conv"), batch()
    module = make("spec_bound", net)
    noise = drawn(module, of.x)
    total = 0.0
    for w, v in zip(matrices(net), noise.values(), strict=True):
        u = nn.functional.normalize(w @ v, dim=0)
        total = total + (w.T @ u).norm().square()
    torch.testing.assert_close(penalty(module, of), total)


def test_spec_bound_gradient_at_the_singular_vector_is_that_of_the_norm():
    net = network("mlp")
    module = make("spec_bound", net)
    layers = {name: m for name, m in net.named_modules() if isinstance(m, nn.Linear)}
    noise = {name: torch.linalg.svd(m.weight.detach()).Vh[0] for name, m in layers.items()}
    found = torch.autograd.grad(
        module.method.weight_penalty(module.net, noise), [m.weight for m in layers.values()]
    )
    exact = sum(torch.linalg.matrix_norm(m.weight, 2).square() for m in layers.values())
    for one, other in zip(
        found, torch.autograd.grad(exact, [m.weight for m in layers.values()]), strict=True
    ):
        torch.testing.assert_close(one, other)


def test_spec_bound_of_a_convolution_as_an_operator():
    """At the top singular vector of the unrolled convolution, the estimate is its norm."""
    net, of = network("conv"), batch()
    module = make("spec_bound", net, conv="operator")
    noise = drawn(module, of.x)
    convolution, last = net.body[0], net.body[-1]
    unrolled = torch.autograd.functional.jacobian(
        lambda v: nn.functional.conv2d(v[None], convolution.weight).flatten(), noise["body.0"]
    ).flatten(1)
    _, sigma, vh = torch.linalg.svd(unrolled)
    noise["body.0"] = vh[0].view(2, 8, 8)
    noise["body.4"] = torch.linalg.svd(last.weight.detach()).Vh[0]
    expected = sigma[0].square() + torch.linalg.matrix_norm(last.weight, 2).square()
    torch.testing.assert_close(module.method.weight_penalty(module.net, noise), expected)


def test_operator_norms_bound_the_jacobian_and_reshaped_ones_need_not():
    net = network("residual")
    assert input_shapes(net, torch.Size((2, 8, 8)), "operator")["body.0.inner.0"] == (2, 8, 8)
    assert input_shapes(net, torch.Size((2, 8, 8)), "reshaped")["body.0.inner.0"] == (18,)
    # A kernel of ones on a constant image multiplies by 9; its matrix has norm 3.
    ones = nn.Conv2d(1, 1, 3, padding=1, padding_mode="circular", bias=False)
    nn.init.ones_(ones.weight)
    assert ones(torch.ones(1, 1, 8, 8)).norm() == 9 * torch.ones(1, 1, 8, 8).norm()
    torch.testing.assert_close(torch.linalg.matrix_norm(ones.weight.flatten(1), 2), torch.tensor(3.0))


def test_spec_bound_holds_u_constant_and_draws_it_anew():
    net, of = network("mlp"), batch()
    module = make("spec_bound", net)
    generator = make_generator(0, "noise")
    (noise,), (later,) = module.draw(of.x, 1, generator), module.draw(of.x, 1, generator)
    assert all(not torch.equal(noise[name], later[name]) for name in noise)
    layers = [net.get_submodule(name).weight for name in noise]
    us = [nn.functional.normalize(w @ v, dim=0).detach() for w, v in zip(layers, noise.values(), strict=True)]
    expected = sum((w.T @ u).square().sum() for w, u in zip(layers, us, strict=True))
    found = torch.autograd.grad(module.method.weight_penalty(module.net, noise), layers)
    for one, other in zip(found, torch.autograd.grad(expected, layers), strict=True):
        torch.testing.assert_close(one, other)
