"""The spectral norm to convergence, with the error reached, against torch.linalg.svd of the exact Jacobian."""

import pytest
import torch
from torch import nn

from jacexp import linearize, spectral_norm
from jacexp.errors import ConfigError, ConvergenceWarning
from jacexp.jacobian import exact_jacobian
from jacexp.random import make_generator
from tests.networks import body, images, normals

NETWORKS = ("conv", "batch_norm", "residual", "attention")


def singular_values_of(net, x):
    return torch.linalg.svd(exact_jacobian(net, x, engine="autograd").flatten(2)).S


def diagonal(*values):
    """A linear map with these singular values, turned on both sides."""
    layer = nn.Linear(len(values) + 1, len(values), bias=False, dtype=torch.float64)
    left, right = (torch.linalg.qr(normals(n, n)).Q for n in (len(values), len(values) + 1))
    with torch.no_grad():
        layer.weight.copy_(left * torch.tensor(values, dtype=torch.float64) @ right[: len(values)])
    return layer


class Scaled(nn.Module):
    """Each sample's own matrix, diag(1, x_0) times the other two inputs: samples converge at different speed."""

    def forward(self, x):
        return torch.stack([x[:, 1], x[:, 0].detach() * x[:, 2]], dim=1)


@pytest.mark.parametrize("tol", [1e-3, 1e-9])
@pytest.mark.parametrize("name", NETWORKS)
def test_the_norm_is_as_exact_as_was_asked(name, tol):
    net, x = body(name), images()
    sigma1 = singular_values_of(net, x)[:, 0]
    sigma, error = spectral_norm(net, x, tol=tol, generator=make_generator(0))
    assert (error <= tol * sigma).all()
    assert ((sigma1 - sigma).abs() <= error + 1e-13 * sigma1).all()
    assert (sigma <= sigma1 * (1 + 1e-13)).all()


@pytest.mark.parametrize("second", [1.0, 1 - 1e-12, 1 - 1e-3])
def test_singular_values_that_are_close(second):
    net, x = diagonal(1.0, second, 0.3), normals(6, 4)
    sigma, error = spectral_norm(net, x, tol=1e-6, n_iter=10_000, generator=make_generator(0))
    assert (error <= 1e-6).all()
    torch.testing.assert_close(sigma, torch.ones_like(sigma), rtol=0, atol=1e-6)


def test_no_jacobian_is_no_error():
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)).double()
    nn.init.constant_(net[0].bias, -100.0)
    sigma, error = spectral_norm(net, torch.rand(3, 3).double(), tol=1e-6)
    assert torch.equal(sigma, torch.zeros_like(sigma))
    assert torch.equal(error, sigma)
    sigma.sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in net.parameters())


def test_samples_that_converge_at_different_speed():
    ratios = torch.tensor([0.0, 0.1, 0.5, 0.99, 1.0, 3.0], dtype=torch.float64)
    x = torch.cat([ratios[:, None], normals(6, 2)], dim=1)
    sigma, error = spectral_norm(Scaled(), x, tol=1e-8, generator=make_generator(0))
    torch.testing.assert_close(sigma, ratios.clamp(min=1), rtol=1e-8, atol=0)
    assert (error <= 1e-8 * sigma).all()
    with pytest.warns(
        ConvergenceWarning, match="1 of 6 samples are above tol=1e-08 after 30 power iterations"
    ):
        value, error = spectral_norm(Scaled(), x, tol=1e-8, n_iter=30, generator=make_generator(0))
    assert (error > 1e-8 * value).tolist() == [False, False, False, True, False, False]
    assert (sigma - value)[3] <= error[3], "what is left of the slow one is said"


@pytest.mark.parametrize("n_iter", [1, 2, 3])
def test_an_iteration_that_ends_early_is_the_one_of_so_many_rounds_and_bounds_its_error(n_iter):
    net, x = nn.Sequential(nn.Flatten(), nn.Linear(128, 30)).double(), images(20)
    with pytest.warns(ConvergenceWarning, match=f"after {n_iter} power iterations"):
        value, error = spectral_norm(net, x, tol=1e-9, n_iter=n_iter, generator=make_generator(1))
    torch.testing.assert_close(value, spectral_norm(net, x, n_iter=n_iter, generator=make_generator(1)))
    nearest = (singular_values_of(net, x) - value[:, None]).abs().amin(dim=1)
    assert (nearest <= error).all()


def test_the_gradient_is_that_of_the_largest_singular_value():
    net, x = body("conv"), images()
    expected = torch.autograd.grad(singular_values_of(net, x)[:, 0].sum(), net[0].weight)[0]
    value, error = spectral_norm(net, x, tol=1e-10, generator=make_generator(0))
    torch.testing.assert_close(
        torch.autograd.grad(value.sum(), net[0].weight)[0], expected, rtol=1e-6, atol=1e-10
    )
    assert not error.requires_grad


def test_samples_that_are_not_finite_have_no_norm_and_hold_nobody_up():
    net, x = body("conv"), images()
    x[1, 0, 0, 0] = torch.nan
    value, error = spectral_norm(net, x, tol=1e-6, generator=make_generator(0))
    assert value.isnan().tolist() == error.isnan().tolist() == [i == 1 for i in range(len(x))]
    alone = spectral_norm(net, x[:1], tol=1e-9).value
    torch.testing.assert_close(value[:1], alone, rtol=1e-6, atol=0)


def test_it_takes_one_forward_pass_and_two_products_a_round():
    lin = linearize(body("batch_norm"), images())
    calls = []
    for product in ("jvp", "vjp"):
        plain = getattr(lin, product)
        setattr(lin, product, lambda v, name=product, plain=plain: calls.append(name) or plain(v))
    with pytest.warns(ConvergenceWarning):
        spectral_norm(lin, tol=1e-12, n_iter=4)
    assert calls == ["jvp", *["vjp", "jvp"] * 4, "vjp"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ({"tol": 0.0}, "tol=0.0: choose a number between 2.2e-16, the precision of torch.float64, and 1"),
        ({"tol": -1}, "tol=-1"),
        ({"tol": float("nan")}, "tol=nan"),
        ({"tol": 1e-17}, "tol=1e-17"),
        ({"tol": "1e-3"}, "tol='1e-3'"),
        ({"tol": 1e-3, "n_iter": 0}, "n_iter=0 is exact and leaves nothing to tol"),
        ({"tol": 1e-3, "n_iter": 1.5}, "n_iter=1.5: choose a whole number"),
    ],
)
def test_what_cannot_be_reached_is_refused(words, says):
    with pytest.raises(ConfigError, match=says):
        spectral_norm(body("mlp"), images(), **words)
