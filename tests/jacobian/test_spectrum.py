"""Singular values and other norms against the decomposition of Jacobians that are written out."""

import pytest
import torch
from torch import nn

from jacexp import linearize, matrix_norm, nuclear_bound, singular_values
from jacexp.errors import ConfigError, NoRuleError
from jacexp.jacobian import exact_jacobian
from jacexp.jacobian import spectrum as spectrum_module
from jacexp.random import make_generator
from tests.networks import body, images, normals

NETWORKS = ("conv", "batch_norm", "residual", "attention")


def decomposed(net, x):
    return torch.linalg.svd(exact_jacobian(net, x, engine="autograd").flatten(2), full_matrices=False)


@pytest.mark.parametrize("k", [1, 2, 4])
@pytest.mark.parametrize("name", NETWORKS)
def test_leading_singular_values_and_vectors(name, k):
    net, x = body(name), images()
    u, sigma, v = decomposed(net, x)
    found = singular_values(net, x, k=k, tol=1e-9, generator=make_generator(0))
    torch.testing.assert_close(found.values, sigma[:, :k], rtol=1e-9, atol=1e-12)
    assert (found.error <= 1e-9 * sigma[:, :1]).all()
    # Each vector is determined up to the sign that it shares with its partner.
    for ours, theirs in ((found.left, u.mT), (found.right.flatten(2), v)):
        cosine = (ours * theirs[:, :k]).sum(dim=2).abs()
        torch.testing.assert_close(cosine, torch.ones_like(cosine), rtol=1e-6, atol=0)


def test_the_error_bounds_how_far_a_value_is_from_the_spectrum():
    net, x = nn.Sequential(nn.Flatten(), nn.Linear(128, 30)).double(), images(20)
    _, sigma, _ = decomposed(net, x)
    found = singular_values(net, x, k=3, max_iter=2, generator=make_generator(1))
    distance = (found.values[:, :, None] - sigma[:, None]).abs().amin(dim=2)
    assert (found.error > 1e-3 * sigma[:, :1]).any(), "two rounds must not already have converged"
    assert (distance <= found.error * (1 + 1e-9)).all()


@pytest.mark.parametrize("max_iter", [1, 2, 3])
def test_an_iteration_that_ends_early_says_how_far_it_is(max_iter):
    """Jᵀu = σ v holds at every round, and the error is what is left of J v = σ u."""
    net, x = nn.Sequential(nn.Flatten(), nn.Linear(128, 30), nn.Tanh(), nn.Linear(30, 20)).double(), images()
    J = exact_jacobian(net, x).flatten(2)
    found = singular_values(net, x, k=3, max_iter=max_iter, tol=1e-12, generator=make_generator(1))
    u, v, sigma = found.left, found.right.flatten(2), found.values[..., None]
    torch.testing.assert_close(u @ J, sigma * v)
    torch.testing.assert_close(torch.linalg.vector_norm(v @ J.mT - sigma * u, dim=2), found.error)


@pytest.mark.parametrize(
    ("spectrum", "k", "why"),
    [
        ((2, 1, 0.99, 0.98, 1e-3, 1e-3), 2, "further vectors take up values close to the last one asked for"),
        ((3, 2, 1, 0, 0, 0), 4, "the error is compared with the largest value, not with one that is 0"),
    ],
)
def test_few_rounds_are_enough(monkeypatch, spectrum, k, why):
    layer, rounds, step = nn.Linear(6, 6, bias=False, dtype=torch.float64), [], spectrum_module._rayleigh_ritz
    turned = [torch.linalg.qr(normals(6, 6)).Q for _ in range(2)]
    with torch.no_grad():
        layer.weight.copy_(turned[0] * torch.tensor(spectrum) @ turned[1])
    monkeypatch.setattr(spectrum_module, "_rayleigh_ritz", lambda *given: rounds.append(1) or step(*given))
    found = singular_values(layer, normals(3, 6), k=k, generator=make_generator(0))
    assert (found.error <= 1e-3 * found.values[:, :1]).all()
    assert len(rounds) <= 8, why


def test_values_have_the_gradient_of_the_singular_values():
    net, x = body("conv"), images()
    found = singular_values(net, x, k=2, tol=1e-10, generator=make_generator(0)).values
    expected = torch.linalg.svdvals(exact_jacobian(net, x).flatten(2))[:, :2]
    weight = net[0].weight
    ours, theirs = (torch.autograd.grad(values.sum(), weight)[0] for values in (found, expected))
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-10)


def test_values_that_are_alike_are_all_found():
    layer = nn.Linear(6, 5, bias=False, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(torch.eye(5, 6) * torch.tensor([2.0, 2.0, 2.0, 1.0, 0.0])[:, None])
    found = singular_values(layer, normals(3, 6), k=5, tol=1e-10)
    torch.testing.assert_close(found.values, torch.tensor([2.0, 2.0, 2.0, 1.0, 0.0]).double().expand(3, 5))


def test_a_constant_network_has_singular_values_0():
    net = nn.Linear(3, 2)
    nn.init.zeros_(net.weight)
    found = singular_values(net, torch.rand(4, 3), k=2)
    assert torch.equal(found.values, torch.zeros(4, 2))
    assert torch.equal(found.error, torch.zeros(4, 2))


def test_half_precision():
    net, x = nn.Linear(8, 4).bfloat16(), torch.rand(3, 8).bfloat16()
    values = singular_values(net, x, k=2, tol=0.05).values
    expected = torch.linalg.svdvals(net.weight.float())[:2].expand(3, 2)
    torch.testing.assert_close(values.float(), expected, rtol=0.02, atol=0)


@pytest.mark.parametrize("name", NETWORKS)
def test_matrix_norms_by_their_definitions(name):
    net, x = body(name), images()
    J = exact_jacobian(net, x).flatten(2)
    sigma = torch.linalg.svdvals(J)
    expected = {
        1: J.abs().sum(dim=1).amax(dim=1),
        "inf": J.abs().sum(dim=2).amax(dim=1),
        2: sigma[:, 0],
        "fro": sigma.square().sum(dim=1).sqrt(),
        "nuc": sigma.sum(dim=1),
    }
    lin = linearize(net, x)
    for ord, norm in expected.items():
        torch.testing.assert_close(matrix_norm(lin, ord=ord), norm)


def test_the_nuclear_bound_is_the_norm_where_the_factors_are_balanced():
    """f = h ∘ g with g = Σ^½ Vᵀ and h = U Σ^½: the two Frobenius norms are then those of the nuclear norm."""
    u, sigma, vt = torch.linalg.svd(normals(3, 5), full_matrices=False)
    inner, outer = nn.Linear(5, 3, bias=False).double(), nn.Linear(3, 3, bias=False).double()
    with torch.no_grad():
        inner.weight.copy_(sigma.sqrt()[:, None] * vt)
        outer.weight.copy_(u * sigma.sqrt())
    x = normals(4, 5)
    torch.testing.assert_close(nuclear_bound(inner, outer, x, n_proj=0), sigma.sum().expand(4))
    with torch.no_grad():
        inner.weight.mul_(2)
        outer.weight.div_(2)
    assert (nuclear_bound(inner, outer, x, n_proj=0) > sigma.sum() * 1.5).all()
    estimate = nuclear_bound(inner, outer, x.repeat(2000, 1), n_proj=4, generator=make_generator(0))
    torch.testing.assert_close(
        estimate.mean(), nuclear_bound(inner, outer, x, n_proj=0)[0], rtol=0.05, atol=0
    )


def test_the_nuclear_bound_is_of_the_outer_network_where_the_inner_one_leads():
    """Its gradient by central differences, for the inner weights also through the point g(x) of J_h."""
    inner = nn.Sequential(nn.Linear(5, 6), nn.Tanh()).double()
    outer = nn.Sequential(nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 3)).double()
    x = normals(2, 5)

    def bound():
        halves = exact_jacobian(inner, x), exact_jacobian(outer, inner(x))
        return sum(J.square().sum() for J in halves) / 2

    weights = [inner[0].weight, outer[0].weight]
    found = nuclear_bound(inner, outer, x, n_proj=0).sum()
    torch.testing.assert_close(found, bound())
    gradients = torch.autograd.grad(found, weights)
    for weight, gradient in zip(weights, gradients, strict=True):
        slopes = torch.zeros_like(weight)
        with torch.no_grad():
            for i in range(weight.numel()):
                weight.view(-1)[i] += 1e-5
                above = bound()
                weight.view(-1)[i] -= 2e-5
                slopes.view(-1)[i] = (above - bound()) / 2e-5
                weight.view(-1)[i] += 1e-5
        torch.testing.assert_close(gradient, slopes, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"k": 0}, "k=0: choose a whole number, 1 to 4"),
        ({"k": 5}, "k=5"),
        ({"k": 1.5}, "k=1.5"),
        ({"tol": 0}, "tol=0: choose a number above 0"),
        ({"tol": float("nan")}, "tol=nan"),
        ({"max_iter": 0}, "max_iter=0: choose a whole number, 1 or more"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        singular_values(body("conv"), images(), **settings)


@pytest.mark.parametrize(("weight", "pixel"), [(float("nan"), 1.0), (1e30, 0.0), (1.0, float("nan"))])
def test_products_that_are_not_finite_are_refused(weight, pixel):
    """Of weights, of weights whose product is too large where the logits are 0, and of inputs that a ReLU hides."""
    net = nn.Sequential(nn.Linear(3, 3, bias=False), nn.ReLU(), nn.Linear(3, 2, bias=False))
    for p in net.parameters():
        nn.init.constant_(p, weight)
    net[1] = nn.Identity() if pixel == 0 else net[1]
    with pytest.raises(ConfigError, match="not finite"):
        singular_values(net, torch.full((4, 3), pixel))


def test_draws_are_the_generators_and_no_others():
    net, x = body("conv"), images()
    draws = {
        "singular_values": lambda g: singular_values(net, x, max_iter=1, generator=g).error,
        "nuclear_bound": lambda g: nuclear_bound(net[:4], net[4], x, generator=g),
    }
    for name, draw in draws.items():
        first, again, other = (draw(make_generator(seed)) for seed in (0, 0, 1))
        assert torch.equal(first, again), name
        assert not torch.equal(first, other), name


def test_the_nuclear_bound_takes_its_engine_for_both_factors():
    smooth, linear = nn.Sequential(nn.Linear(3, 3), nn.Tanh()), nn.Linear(3, 3)
    for inner, outer in ((smooth, linear), (linear, smooth)):
        with pytest.raises(NoRuleError, match="Tanh"):
            nuclear_bound(inner, outer, torch.rand(2, 3), engine="passes")


def test_an_unknown_norm_is_refused():
    with pytest.raises(ConfigError, match="ord='nuclear': choose 1, 2, 'inf', 'fro' or 'nuc'"):
        matrix_norm(body("conv"), images(), ord="nuclear")
