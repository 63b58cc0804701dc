import math

import pytest
import torch

from jacexp.data import Tangents, load
from jacexp.errors import ConfigError

SHAPE = (3, 12, 10)


@pytest.fixture
def x():
    return torch.rand(2, *SHAPE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def make(shape=SHAPE, **options):
    return Tangents(shape, dtype=torch.float64, **options)


def blob(shape, width):
    """A Gaussian hill off the centre, with its coordinates (X, Y): smoothed by sigma it is one again."""
    height, side = shape
    y, x = torch.meshgrid(torch.arange(height).double(), torch.arange(side).double(), indexing="ij")
    x, y = x - (side - 1) / 2, y - (height - 1) / 2
    return torch.exp(-((x - 1.5) ** 2 + (y + 0.5) ** 2) / (2 * width**2)), x, y


@pytest.mark.parametrize("border", ["replicate", "zero"])
@pytest.mark.parametrize("unit", ["pixel", "half_side"])
@pytest.mark.parametrize("name", Tangents.names)
def test_tangents_are_the_derivatives_of_the_real_transformations(x, name, unit, border):
    tangents = make(unit=unit, border=border)
    t = tangents(x)[:, tangents.names.index(name)]

    def forward_error(alpha):
        return ((tangents.transform(x, name, alpha) - tangents.smooth(x)) / alpha - t).abs().max().item()

    def central_error(alpha):
        ends = tangents.transform(x, name, alpha) - tangents.transform(x, name, -alpha)
        return (ends / (2 * alpha) - t).abs().max().item()

    assert forward_error(1e-3) / forward_error(1e-4) == pytest.approx(10, rel=0.05)
    assert central_error(1e-3) / central_error(1e-4) == pytest.approx(100, rel=0.05)
    assert forward_error(1e-4) < 1e-2 * t.abs().max()


@pytest.mark.parametrize("name", Tangents.names)
def test_tangents_of_digits_are_those_derivatives_too(name):
    digits = load("digits").x_test[:3].double() / 255
    tangents = make((1, 28, 28))
    t = tangents(digits)[:, tangents.names.index(name)]
    errors = [
        ((tangents.transform(digits, name, alpha) - tangents.smooth(digits)) / alpha - t).abs().max().item()
        for alpha in (2e-4, 1e-4)
    ]
    assert errors[0] / errors[1] == pytest.approx(2, rel=0.02)
    assert errors[1] < 0.02 * t.abs().max()


def test_a_gaussian_hill_has_the_derivatives_of_the_textbook():
    hill, x, y = blob((41, 41), width=2.0)
    tangents = make((1, 41, 41), sigma=1.5)
    # Gaussians convolve to a Gaussian: variances 2² and 1.5² add to 2.5².
    s = (2.0 / 2.5) ** 2 * torch.exp(-((x - 1.5) ** 2 + (y + 0.5) ** 2) / (2 * 2.5**2))
    s_x, s_y = -(x - 1.5) / 2.5**2 * s, -(y + 0.5) / 2.5**2 * s
    torch.testing.assert_close(tangents.smooth(hill[None, None])[0, 0], s, rtol=0, atol=1e-7)
    expected = torch.stack([s_x, s_y, x * s_x, y * s_y, y * s_x - x * s_y])
    torch.testing.assert_close(tangents(hill[None, None])[0, :, 0], expected, rtol=0, atol=1e-6)


def test_smoothing_is_the_gaussian_filter_that_scipy_knows(x):
    from scipy.ndimage import gaussian_filter

    for border, mode in (("replicate", "nearest"), ("zero", "constant")):
        tangents = make(border=border)
        expected = gaussian_filter(x.numpy(), sigma=(0, 0, 0.9, 0.9), mode=mode, truncate=7)
        torch.testing.assert_close(tangents.smooth(x), torch.from_numpy(expected), rtol=0, atol=1e-6)
        slope = gaussian_filter(x.numpy(), sigma=(0, 0, 0.9, 0.9), order=(0, 0, 0, 1), mode=mode, truncate=7)
        torch.testing.assert_close(tangents(x)[:, 0], torch.from_numpy(slope), rtol=0, atol=1e-4)


def test_nothing_moves_a_constant_image_and_only_the_frame_where_outside_is_zero():
    constant = torch.full((1, *SHAPE), 0.5, dtype=torch.float64)
    torch.testing.assert_close(
        make()(constant), torch.zeros(1, 5, *SHAPE, dtype=torch.float64), rtol=0, atol=1e-5
    )
    assert make(border="zero")(constant).abs().max() > 0.1


def test_directions_are_as_documented():
    x = torch.zeros(1, 1, 21, 21, dtype=torch.float64)
    x[0, 0, 10, 15] = 1  # 5 to the right of the centre
    tangents = make((1, 21, 21))

    def peak(name, alpha):
        return divmod(tangents.transform(x, name, alpha).argmax().item(), 21)

    assert peak("shift_x", 2) == (10, 13)
    assert peak("shift_y", 2) == (8, 15)
    assert peak("scale_x", math.log(5 / 2)) == (10, 12)
    assert peak("scale_y", 1) == (10, 15)
    assert peak("rotation", math.pi / 2) == (15, 10)


@pytest.mark.parametrize("name", Tangents.names)
def test_transformations_of_nothing_are_the_smoothed_image(x, name):
    tangents = make()
    torch.testing.assert_close(tangents.transform(x, name, 0.0), tangents.smooth(x))


def test_far_outside_the_border_goes_on(x):
    tangents = make()
    far = tangents.transform(x, "shift_x", 100.0)
    edge = make()._gaussian(torch.arange(12).double(), 12)[0] @ x[..., -1:]
    torch.testing.assert_close(far, edge.expand_as(far), rtol=0, atol=1e-6)
    assert not make(border="zero").transform(x, "shift_x", 100.0).abs().max() > 1e-9


def test_half_side_rescales_the_scalings_and_the_rotation_alone(x):
    pixel, half = make()(x), make(unit="half_side")(x)
    torch.testing.assert_close(half[:, :2], pixel[:, :2])
    torch.testing.assert_close(half[:, 2:], pixel[:, 2:] / 6)


def test_tangents_of_a_set_are_those_of_its_images(x):
    images = (x * 255).byte()
    tangents = make()
    of_set = tangents.of_set(images.repeat(3, 1, 1, 1), chunk=4)
    torch.testing.assert_close(of_set, tangents(images.double() / 255).repeat(3, 1, 1, 1, 1))


@pytest.mark.parametrize("shape", [(64,), (1, 784), (1, 1, 784), (3, 28, 2)])
def test_a_set_without_spatial_axes_is_refused(shape):
    with pytest.raises(ConfigError, match="tangents need images"):
        Tangents(shape)


@pytest.mark.parametrize("options", [{"sigma": 0}, {"unit": "inch"}, {"border": "mirror"}])
def test_impossible_options_are_errors(options):
    with pytest.raises(ConfigError, match=f"got .*{next(iter(options))}"):
        Tangents(SHAPE, **options)
