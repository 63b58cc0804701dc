import pytest
import torch
from torch import nn

from jacexp.errors import ConfigError
from jacexp.models.lenet import lenet

PAPER = [(6, 28, 28), (6, 14, 14), (16, 10, 10), (16, 5, 5), (400,), (120,), (84,), (10,)]


def test_it_has_the_papers_parameters():
    assert sum(p.numel() for p in lenet((1, 28, 28), 10).parameters()) == 61_706


def test_every_layer_has_the_papers_shape():
    x, shapes = torch.rand(2, 1, 28, 28), []
    for layer in lenet((1, 28, 28), 10):
        x = layer(x)
        if not isinstance(layer, nn.ReLU):
            shapes.append(tuple(x.shape[1:]))
    assert shapes == PAPER


@pytest.mark.parametrize("in_shape", [(1, 12, 12), (3, 32, 32), (2, 13, 40)])
def test_it_takes_other_images(in_shape):
    assert lenet(in_shape, 7)(torch.rand(2, *in_shape)).shape == (2, 7)


@pytest.mark.parametrize("in_shape", [(1, 11, 28), (1, 28, 11)])
def test_small_images_are_an_error(in_shape):
    with pytest.raises(ConfigError, match=r"lenet needs images of 12×12 or more"):
        lenet(in_shape, 10)
