import math

import pytest
import torch
from torch import nn

from jacexp.evaluate.bounds import NoBoundError, layer_norm, matrix_norm, operator_bound, reshaped_bound
from jacexp.jacobian import exact_jacobian
from tests.evaluate.nets import convnet, images


def exact_norm(layer: nn.Module, shape: tuple[int, ...]) -> float:
    """Return the norm of an affine layer from its whole matrix."""
    zero = torch.zeros(1, *shape, dtype=torch.float64)
    matrix = torch.autograd.functional.jacobian(layer.double(), zero)
    return torch.linalg.matrix_norm(matrix.reshape(-1, zero.numel()), ord=2).item()


def seeded(make):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return make()


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.Conv2d(2, 3, 3),
        lambda: nn.Conv2d(2, 3, 5, padding=2),
        lambda: nn.Conv2d(2, 4, 3, stride=2, padding=1, bias=False),
        lambda: nn.Conv2d(2, 4, 3, dilation=2, groups=2),
        lambda: nn.AvgPool2d(3, stride=1),
        lambda: nn.AdaptiveAvgPool2d(3),
        lambda: nn.AdaptiveAvgPool2d(14),
    ],
    ids=["conv", "padded", "strided", "dilated", "avg", "adaptive", "repeating"],
)
def test_linear_maps_have_the_norm_of_their_matrix(make):
    layer = seeded(make)
    x = torch.zeros(1, 2, 7, 7)
    norm = layer_norm(layer, x, torch.Generator().manual_seed(0))
    assert norm == pytest.approx(exact_norm(layer, (2, 7, 7)), rel=1e-5)


def test_batch_norm_scales_by_its_steepest_channel():
    layer = nn.BatchNorm2d(3, eps=0.44).eval()
    layer.running_var = torch.tensor([4.0, 0.25, 1.0])
    layer.weight.data = torch.tensor([1.0, 0.1, -3.0])
    expected = 3 / 1.2
    norm = layer_norm(layer, torch.zeros(1, 3, 2, 2), torch.Generator())
    assert norm == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("kernel", "stride", "norm"), [(2, 2, 1.0), (3, 2, 2.0), (3, 1, 3.0), ((3, 2), (2, 2), 2**0.5)]
)
def test_a_max_pool_copies_a_pixel_to_every_window_that_it_wins(kernel, stride, norm):
    pool = nn.MaxPool2d(kernel, stride=stride)
    assert layer_norm(pool, torch.zeros(1, 1, 9, 9), torch.Generator()) == norm
    # A single bright pixel in the middle attains it.
    x = torch.zeros(1, 1, 9, 9)
    x[0, 0, 4, 4] = 1
    assert max(
        pool(x.roll((i, j), dims=(2, 3))).norm().item() for i in (0, 1) for j in (0, 1)
    ) == pytest.approx(norm)


def test_a_convolution_can_be_longer_than_its_reshaped_kernel():
    body = nn.Sequential(nn.Conv2d(1, 1, 3, padding=1, bias=False))
    nn.init.ones_(body[0].weight)
    assert reshaped_bound(body) == pytest.approx(3.0)
    # ones ∗ ones: a rank-one product of tridiagonal matrices with norm 1 + 2 cos(π/(n + 1))
    expected = (1 + 2 * math.cos(math.pi / 29)) ** 2
    assert operator_bound(body, torch.zeros(1, 1, 28, 28)) == pytest.approx(expected, rel=1e-6)


def test_bounds_of_linear_layers_are_products_of_singular_values():
    body = seeded(
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(12, 7), nn.ReLU(), nn.Dropout(), nn.Linear(7, 4)).eval()
    )
    expected = math.prod(torch.linalg.svdvals(body[i].weight.detach().double())[0].item() for i in (1, 4))
    assert reshaped_bound(body) == pytest.approx(expected)
    assert operator_bound(body, torch.zeros(1, 1, 3, 4)) == pytest.approx(expected)


def test_matrix_norm_of_either_orientation_and_of_zero():
    weight = seeded(lambda: torch.randn(5, 9))
    expected = torch.linalg.svdvals(weight.double())[0].item()
    assert matrix_norm(weight) == pytest.approx(expected)
    assert matrix_norm(weight.T) == pytest.approx(expected)
    assert matrix_norm(torch.zeros(3, 2)) == 0


def test_operator_bound_bounds_every_jacobian():
    net, (x, _) = convnet(), images(50)
    with torch.no_grad():
        normalised = net.normalize(x.double() / 255)
    jacobians = exact_jacobian(net.body, normalised).detach().flatten(2)
    assert operator_bound(net.body, normalised) >= torch.linalg.svdvals(jacobians).amax()


class Residual(nn.Module):
    """A linear layer and a way around it, or something done to what it returns."""

    def __init__(self, after):
        super().__init__()
        self.layer, self.last, self.after = nn.Linear(2, 2), nn.ReLU(), after

    def forward(self, x):
        return self.last(self.after(self.layer(x), x))


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (nn.Sequential(nn.Linear(2, 2), nn.Softplus()), "no norm is for a layer Softplus"),
        (Residual(lambda z, x: z + x), "ReLU does not just follow a layer"),
        (Residual(lambda z, x: z.mul_(3)), "ReLU does not just follow a layer"),
        (nn.Sequential(nn.LayerNorm(2)), "no norm is for a layer LayerNorm"),
    ],
    ids=["unknown layer", "branch", "in place", "normalisation"],
)
def test_what_has_no_bound_is_one_clear_error(body, says):
    with pytest.raises(NoBoundError, match=says):
        operator_bound(body, torch.zeros(2, 2))


def test_something_after_the_last_layer_has_no_bound_and_a_view_between_layers_is_none():
    body = Residual(lambda z, x: z.view(1, 2))
    product = matrix_norm(body.layer.weight)
    assert operator_bound(body, torch.zeros(1, 2)) == pytest.approx(product)
    body.register_forward_hook(lambda net, x, z: 2 * z)
    with pytest.raises(NoBoundError, match="after its last layer"):
        operator_bound(body, torch.zeros(1, 2))
