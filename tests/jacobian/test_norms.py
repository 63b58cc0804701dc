"""Norms against the singular values of the exact Jacobian."""

import copy
from itertools import pairwise

import pytest
import torch
from torch import nn
from torchvision.models import resnet18

from jacexp.errors import ConfigError
from jacexp.jacobian import exact_jacobian, frobenius_norm, linearize, matrix_norm, spectral_norm
from jacexp.jacobian.norms import per_sample_norm, projected_frobenius, sphere_like, unit
from jacexp.models import build
from jacexp.random import make_generator
from tests.networks import BODIES, body, images, normals

DETERMINISTIC = [name for name in BODIES if "dropout" not in name]


def svd_norms(net, x):
    return torch.linalg.svdvals(exact_jacobian(net, x, engine="autograd").flatten(2))


def dense_power_iteration(jacobian, x, n_iter, generator):
    """Johansson et al., Algorithm 1, on Jacobians that are written out, (B, C, D)."""
    v = torch.randn(x.shape, dtype=x.dtype, generator=generator).flatten(1)
    for _ in range(n_iter):
        u = torch.einsum("bci,bi->bc", jacobian, v / v.norm(dim=1, keepdim=True))
        v = torch.einsum("bci,bc->bi", jacobian, u / u.norm(dim=1, keepdim=True))
    return v.norm(dim=1)


@pytest.mark.parametrize("name", DETERMINISTIC)
def test_norms_are_those_of_the_singular_values(name):
    net, x = body(name), images()
    sigma = svd_norms(net, x)
    torch.testing.assert_close(spectral_norm(net, x, n_iter=0), sigma[:, 0])
    torch.testing.assert_close(frobenius_norm(net, x), sigma.square().sum(1).sqrt())
    estimate = spectral_norm(net, x, n_iter=200, generator=make_generator(0))
    torch.testing.assert_close(estimate, sigma[:, 0])


def test_a_linear_network_has_the_singular_values_of_its_matrix():
    layer = nn.Linear(7, 3, dtype=torch.float64)
    x = normals(4, 7)
    sigma = torch.linalg.svdvals(layer.weight)
    torch.testing.assert_close(spectral_norm(layer, x, n_iter=0), sigma[0].expand(4))
    torch.testing.assert_close(frobenius_norm(layer, x), layer.weight.norm().expand(4))


def test_a_relu_network_has_the_product_of_its_masked_matrices():
    first, second = nn.Linear(6, 5, dtype=torch.float64), nn.Linear(5, 3, dtype=torch.float64)
    x = normals(4, 6)
    masks = (first(x) > 0).double()
    products = torch.stack(
        [second.weight @ torch.diag(z) @ first.weight for z in masks]
    )  # Johansson et al., Eq. 4
    torch.testing.assert_close(exact_jacobian(nn.Sequential(first, nn.ReLU(), second), x), products)


@pytest.mark.parametrize("n_iter", [1, 2, 5])
def test_power_iteration_follows_algorithm_1_from_below(n_iter):
    net, x = body("conv"), images()
    jacobian = exact_jacobian(net, x).flatten(2)
    estimate = spectral_norm(net, x, n_iter=n_iter, generator=make_generator(1))
    torch.testing.assert_close(estimate, dense_power_iteration(jacobian, x, n_iter, make_generator(1)))
    assert (estimate <= svd_norms(net, x)[:, 0] * (1 + 1e-12)).all()


def test_more_power_iterations_never_estimate_less():
    net, x = body("conv"), images(20)
    estimates = [spectral_norm(net, x, n_iter=n, generator=make_generator(0)) for n in (1, 2, 3, 10)]
    for fewer, more in pairwise(estimates):
        assert (more >= fewer * (1 - 1e-12)).all()
    assert (estimates[-1] > estimates[0] * 1.01).any(), "one iteration must not already be exact here"


def test_the_projected_frobenius_norm_has_the_exact_expectation():
    """E over the sphere is exact for an orthonormal basis: (C/C) Σ_c ‖Jᵀe_c‖² = ‖J‖_F²."""
    net, x = body("conv"), images()
    lin = linearize(net, x)
    basis = torch.eye(4, dtype=torch.float64)[:, None, :].expand(4, len(x), 4)
    torch.testing.assert_close(projected_frobenius(lin, basis), frobenius_norm(net, x).square())


def test_one_projection_is_c_times_the_squared_row():
    net, x = body("conv"), images()
    u = sphere_like(linearize(net, x).logits, 1, make_generator(5))
    rows = torch.einsum("bci,bc->bi", exact_jacobian(net, x).flatten(2), u[0])
    estimate = frobenius_norm(net, x, n_proj=1, generator=make_generator(5))
    torch.testing.assert_close(estimate, (4 * rows.square().sum(1)).sqrt())


def test_points_on_the_sphere_have_length_one_and_no_preferred_direction():
    points = sphere_like(torch.zeros(2000, 3, dtype=torch.float64), 4, make_generator(0))
    torch.testing.assert_close(points.norm(dim=-1), torch.ones(4, 2000, dtype=torch.float64))
    second = torch.einsum("nbi,nbj->ij", points, points) / 8000
    # Each entry's standard deviation is below 1/√8000; six of them bound all nine entries but for 1 in 10^8.
    torch.testing.assert_close(second, torch.eye(3, dtype=torch.float64) / 3, rtol=0, atol=6 / 8000**0.5)


def test_zero_is_safe():
    zero = torch.zeros(2, 3, requires_grad=True)
    assert torch.equal(unit(zero), torch.zeros(2, 3))
    (gradient,) = torch.autograd.grad(per_sample_norm(zero).sum(), zero)
    assert torch.equal(gradient, torch.zeros(2, 3))
    (gradient,) = torch.autograd.grad(unit(zero).sum(), zero)
    assert gradient.isfinite().all()


@pytest.mark.parametrize("scale", [1e-30, 1e-10, 1e5, 1e30])
def test_unit_vectors_of_tiny_and_huge_ones(scale):
    x = torch.randn(4, 7, generator=make_generator(0))
    torch.testing.assert_close(unit(x * scale), unit(x))


def test_a_dead_sample_has_norm_zero_and_a_finite_gradient():
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    nn.init.constant_(net[0].bias, -100.0)
    sigma = spectral_norm(net, torch.rand(3, 3), generator=make_generator(0))
    assert torch.equal(sigma, torch.zeros(3))
    sigma.sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in net.parameters())


@pytest.mark.parametrize("engine", ["autograd", "passes"])
def test_a_linearisation_serves_all_that_is_computed_from_it(engine):
    net, x = body("batch_norm"), images()
    lin = linearize(net, x, engine=engine)
    assert net[1].num_batches_tracked == 1
    computed = [
        lambda *at, **how: spectral_norm(*at, generator=make_generator(0), **how),
        lambda *at, **how: spectral_norm(*at, n_iter=0, **how),
        lambda *at, **how: frobenius_norm(*at, n_proj=2, generator=make_generator(0), **how),
        frobenius_norm,
        exact_jacobian,
    ]
    for compute in computed:
        torch.testing.assert_close(compute(lin), compute(copy.deepcopy(net), x, engine=engine))
    assert net[1].num_batches_tracked == 1


def test_a_network_has_a_batch_beside_it_and_a_linearisation_has_its_own():
    net, x = body("mlp"), images()
    lin = linearize(net, x)
    for compute in (spectral_norm, frobenius_norm, exact_jacobian):
        with pytest.raises(ConfigError, match="a network needs the batch x"):
            compute(net)
        for extra in ({"x": x}, {"engine": "autograd"}):
            with pytest.raises(ConfigError, match="leave x and engine out"):
                compute(lin, **extra)
        with pytest.raises(ConfigError, match="a Tensor is neither"):
            compute(x)


@pytest.mark.parametrize("compute", [spectral_norm, frobenius_norm])
@pytest.mark.parametrize(
    ("words", "says"),
    [
        ({"n": -1}, "=-1: choose a whole number, 0 or more"),
        ({"n": 1.5}, "=1.5: choose a whole number"),
        ({"n": True}, "=True: choose a whole number"),
        ({"n": 1, "generator": 3}, "generator=3 is no torch.Generator"),
    ],
)
def test_wrong_numbers_are_refused(compute, words, says):
    key = "n_iter" if compute is spectral_norm else "n_proj"
    given = {key if word == "n" else word: value for word, value in words.items()}
    with pytest.raises(ConfigError, match=says):
        compute(body("mlp"), images(), **given)


NORMS = {
    "spectral": lambda lin: spectral_norm(lin, generator=make_generator(0)),
    "spectral, exact": lambda lin: spectral_norm(lin, n_iter=0),
    "frobenius": lambda lin: frobenius_norm(lin, n_proj=2, generator=make_generator(0)),
    "frobenius, exact": frobenius_norm,
    "nuclear": matrix_norm,
    "infinity": lambda lin: matrix_norm(lin, ord="inf"),
}


class Roots(nn.Module):
    """Linear, then a square root that has no value below 0, behind a ReLU that would hide it."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(3, 3)

    def forward(self, x):
        z = self.first(x)
        return z.relu() + 0 * z.detach().sum(dim=1, keepdim=True).sqrt()


@pytest.mark.parametrize("norm", NORMS.values(), ids=NORMS)
@pytest.mark.parametrize("engine", ["autograd", "passes"])
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_sample_that_is_not_finite_has_no_norm_and_the_others_have_theirs(norm, engine, value):
    net, x = body("mlp"), images()
    clean = norm(linearize(net, x, engine=engine))
    x[1].view(-1)[0] = value
    found = norm(linearize(net, x, engine=engine))
    assert found.isnan().tolist() == [i == 1 for i in range(len(x))]
    torch.testing.assert_close(found[0], clean[0])
    found.sum().backward()
    assert any(p.grad.isnan().any() for p in net.parameters() if p.grad is not None)


@pytest.mark.parametrize("norm", NORMS.values(), ids=NORMS)
def test_a_network_whose_output_is_not_finite_has_no_norm_there(norm):
    net = Roots()
    nn.init.eye_(net.first.weight)
    nn.init.zeros_(net.first.bias)
    found = norm(linearize(net, torch.tensor([[1.0, 2, 3], [-1, -2, -3]])))
    assert found.isnan().tolist() == [False, True]


def published(name):
    ones = torch.ones(3 if name == "vgg16_bn" else 1, 1, 1)
    shape = (3, 32, 32) if name == "vgg16_bn" else (1, 28, 28)
    return build(name, in_shape=shape, n_classes=10, mean=0.4 * ones, std=0.3 * ones, seed=0).body, shape


@pytest.mark.parametrize("name", ["lenet", pytest.param("vgg16_bn", marks=pytest.mark.slow), "resnet18"])
def test_real_networks_in_train_mode(name):
    net, shape = (resnet18(num_classes=10), (3, 32, 32)) if name == "resnet18" else published(name)
    for module in net.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0  # each call would draw a mask of its own
    net = net.double()
    x = normals(2, *shape)
    jacobian = exact_jacobian(net, x, engine="autograd").detach().flatten(2)
    sigma = torch.linalg.svdvals(jacobian)
    with torch.no_grad():
        torch.testing.assert_close(frobenius_norm(net, x), sigma.square().sum(1).sqrt())
        estimate = spectral_norm(net, x, n_iter=2, generator=make_generator(1))
    torch.testing.assert_close(estimate, dense_power_iteration(jacobian, x, 2, make_generator(1)))


@pytest.mark.parametrize("engine", ["autograd", "passes"])
def test_the_gradient_of_the_estimate_holds_u_constant(engine):
    net, x = body("conv"), images()
    parameters = list(net.parameters())
    jacobian = exact_jacobian(net, x, engine="autograd").flatten(2)
    v = torch.randn(x.shape, dtype=x.dtype, generator=make_generator(0)).flatten(1)
    u = nn.functional.normalize(torch.einsum("bci,bi->bc", jacobian, v), dim=1).detach()
    expected = torch.einsum("bci,bc->bi", jacobian, u).norm(dim=1).sum()
    found = spectral_norm(net, x, generator=make_generator(0), engine=engine).sum()
    for one, other in zip(
        torch.autograd.grad(found, parameters, allow_unused=True, materialize_grads=True),
        torch.autograd.grad(expected, parameters, allow_unused=True, materialize_grads=True),
        strict=True,
    ):
        torch.testing.assert_close(one, other)
