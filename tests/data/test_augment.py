import math

import pytest
import torch

from jacexp.data import AUGMENTS, Affine, CropFlip
from jacexp.errors import ConfigError


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


@pytest.fixture
def x(generator):
    return torch.rand(4, 3, 9, 9, generator=generator, dtype=torch.float64)


def affine(x, shift=(0.0, 0.0), scale=(1.0, 1.0), angle=0.0):
    draws = torch.tensor([[*shift, *scale, angle]], dtype=torch.float64).expand(len(x), -1)
    return Affine()(x, draws)


def shifted(x, right, down):
    """Content moved by whole pixels, zeros coming in."""
    out = torch.zeros_like(x)
    height, width = x.shape[2:]
    inside = [slice(max(by, 0), side + min(by, 0)) for by, side in ((down, height), (right, width))]
    source = [slice(max(-by, 0), side + min(-by, 0)) for by, side in ((down, height), (right, width))]
    out[..., inside[0], inside[1]] = x[..., source[0], source[1]]
    return out


def test_crop_in_the_middle_without_a_flip_is_the_identity(x):
    assert torch.equal(CropFlip(4)(x, torch.tensor([[4, 4, 0]] * 4)), x)


def test_crop_moves_the_content_and_fills_with_zeros_each_image_by_its_own_draw(x):
    out = CropFlip(4)(x, torch.tensor([[0, 0, 0], [8, 8, 0], [5, 2, 0], [4, 4, 1]]))
    for image, (right, down) in enumerate([(4, 4), (-4, -4), (2, -1)]):
        assert torch.equal(out[image], shifted(x, right, down)[image])
    assert torch.equal(out[3], x[3].flip(-1))


def test_flip_mirrors_the_window(x):
    crop = CropFlip(4)
    plain, mirrored = (crop(x, torch.tensor([[7, 1, flip]] * 4)) for flip in (0, 1))
    assert torch.equal(mirrored, plain.flip(-1))


def test_crop_draws_are_uniform_over_windows_and_flips(generator):
    n = 90_000
    draws = CropFlip(4).draw(n, generator)
    for column, outcomes in enumerate((9, 9, 2)):
        counts = draws[:, column].bincount(minlength=outcomes)
        assert len(counts) == outcomes
        deviation = math.sqrt(n / outcomes * (1 - 1 / outcomes))
        assert (counts - n / outcomes).abs().max() < 5 * deviation


def test_affine_of_nothing_is_the_identity(x):
    torch.testing.assert_close(affine(x), x)


@pytest.mark.parametrize(("right", "down"), [(1, 0), (-2, 0), (0, 2), (1, -2)])
def test_a_whole_pixel_shift_moves_the_content_and_fills_with_zeros(x, right, down):
    torch.testing.assert_close(affine(x, shift=(right, down)), shifted(x, right, down))


def test_half_a_pixel_is_the_mean_of_two(x):
    torch.testing.assert_close(affine(x, shift=(0.5, 0)), (x + shifted(x, 1, 0)) / 2)


def test_a_quarter_turn_is_clockwise(x):
    torch.testing.assert_close(affine(x, angle=math.pi / 2), x.rot90(-1, (2, 3)))


def test_a_scale_enlarges_its_own_axis_about_the_centre():
    column = torch.arange(9.0, dtype=torch.float64) - 4
    x = column.expand(1, 1, 9, 9)
    torch.testing.assert_close(affine(x, scale=(2, 1)), x / 2)
    rows = x.transpose(2, 3).contiguous()
    torch.testing.assert_close(affine(rows, scale=(1, 2)), rows / 2)
    torch.testing.assert_close(affine(rows, scale=(2, 1)), rows)


def test_a_turn_of_an_oblong_image_keeps_distances():
    # One pixel, 3 to the right of the centre, is 3 below it after a quarter turn.
    x = torch.zeros(1, 1, 9, 15, dtype=torch.float64)
    x[0, 0, 4, 10] = 1
    expected = torch.zeros_like(x)
    expected[0, 0, 7, 7] = 1
    torch.testing.assert_close(affine(x, angle=math.pi / 2), expected)


def test_a_slope_is_shifted_turned_and_then_scaled_along_each_axis():
    """A plane a X + b Y shows, at p, a X' + b Y' with (X', Y') = R(−angle) · p / scale − shift; bilinear is exact."""
    rows, columns = torch.arange(9.0).double() - 4, torch.arange(15.0).double() - 7
    Y, X = torch.meshgrid(rows, columns, indexing="ij")
    angle, (shift_x, shift_y), (scale_x, scale_y) = 0.3, (0.5, -0.25), (1.4, 0.8)
    draws = torch.tensor([[shift_x, shift_y, scale_x, scale_y, angle]], dtype=torch.float64)
    shown = Affine()((2 * X + 3 * Y)[None, None], draws)[0, 0]
    cos, sin = math.cos(angle), math.sin(angle)
    x = cos * X / scale_x + sin * Y / scale_y - shift_x
    y = -sin * X / scale_x + cos * Y / scale_y - shift_y
    inside = (x.abs() <= 7) & (y.abs() <= 4)
    assert inside.sum() > 60
    torch.testing.assert_close(shown[inside], (2 * x + 3 * y)[inside])


@pytest.mark.parametrize(("law", "lowest", "median"), [("log_uniform", 1 / 1.4, 1.0), ("uniform", 0.7, 1.05)])
def test_affine_draws_fill_their_ranges(generator, law, lowest, median):
    n = 20_000
    shift, scale, angle = Affine(scale_law=law).draw(n, generator).split([2, 2, 1], dim=1)
    for values, low, middle, high in (
        (shift, -2, 0, 2),
        (scale, lowest, median, 1.4),
        (angle, -math.pi / 10, 0, math.pi / 10),
    ):
        assert low <= values.min() <= low + 1e-3 * (high - low)
        assert high - 1e-3 * (high - low) <= values.max() <= high * (1 + 1e-6)
        below = (values < middle).double().mean().item()
        assert abs(below - 0.5) < 5 * 0.5 / math.sqrt(values.numel())


@pytest.mark.parametrize("augment", [CropFlip(), Affine()])
def test_draws_are_repeatable_and_independent_of_how_they_are_cut(augment, x):
    first, second = (augment.draw(4, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first, second)
    one_by_one = torch.cat([augment(x[i : i + 1], first[i : i + 1]) for i in range(4)])
    torch.testing.assert_close(augment(x, first), one_by_one)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("crop_flip", {"pad": -1}),
        ("affine", {"shift": -1}),
        ("affine", {"scale": 0.7}),
        ("affine", {"degrees": -18}),
        ("affine", {"scale_law": "normal"}),
    ],
)
def test_impossible_options_are_errors(name, options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        AUGMENTS[name](**options)
