import numpy as np
import pytest
import torch

from jacexp.data import ImageSet, split
from jacexp.errors import ConfigError, DataError


def make_split(x_train):
    y = torch.arange(len(x_train)) % 2
    images = ImageSet("made", x_train, y, x_train[:2], y[:2], 2, {})
    return split(images, seed=0, select="paper")


@pytest.fixture
def color():
    return make_split(torch.randint(256, (50, 3, 5, 4), generator=torch.Generator().manual_seed(0)).byte())


def test_channel_statistics_are_numpys(color):
    mean, std = color.mean_std()
    x = color.x_train.numpy() / 255
    assert mean.shape == std.shape == (3, 1, 1)
    assert mean.dtype == std.dtype == torch.float32
    np.testing.assert_allclose(mean.flatten(), x.mean((0, 2, 3)), rtol=1e-6)
    np.testing.assert_allclose(std.flatten(), x.std((0, 2, 3)), rtol=1e-6)


@pytest.mark.parametrize("shape", [(2, 5, 4), (3,)])
def test_statistics_of_floats_are_numpys(shape):
    """Of few values, where the unbiased deviation is another."""
    made = make_split(torch.rand(4, *shape, generator=torch.Generator().manual_seed(0)))
    mean, std = made.mean_std()
    axes = (0, 2, 3)[: len(shape)]
    np.testing.assert_allclose(mean.flatten(), made.x_train.double().numpy().mean(axes), rtol=1e-6)
    np.testing.assert_allclose(std.flatten(), made.x_train.double().numpy().std(axes), rtol=1e-6)


def test_pixel_mean_is_numpys_and_no_deviation_is_one(color):
    mean, std = color.mean_std(mean="pixel", std="none")
    np.testing.assert_allclose(mean, (color.x_train.numpy() / 255).mean(0), rtol=1e-6)
    torch.testing.assert_close(std, torch.ones(3, 1, 1))


def test_statistics_of_a_large_dim_set_keep_their_precision():
    # A float32 sum over these pixels would be off in the third digit.
    x = torch.ones(2000, 1, 100, 100, dtype=torch.uint8)
    x[::2] = 3
    mean, std = make_split(x).mean_std()
    torch.testing.assert_close(mean.flatten(), torch.tensor([2 / 255]), rtol=1e-7, atol=0)
    torch.testing.assert_close(std.flatten(), torch.tensor([1 / 255]), rtol=1e-6, atol=0)


def test_a_constant_channel_has_no_deviation_to_divide_by():
    constant = make_split(torch.full((4, 1, 3, 3), 7, dtype=torch.uint8))
    with pytest.raises(DataError, match="made: a channel of the training set is constant"):
        constant.mean_std()
    assert constant.mean_std(std="none")[0].item() == pytest.approx(7 / 255)


@pytest.mark.parametrize("switches", [{"mean": "image"}, {"std": "pixel"}])
def test_an_unknown_switch_is_an_error(color, switches):
    with pytest.raises(ConfigError, match="mean is channel or pixel, std is channel or none"):
        color.mean_std(**switches)


def test_in_shape(color):
    assert color.in_shape == (3, 5, 4)
