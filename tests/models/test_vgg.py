import pytest
import torch
from torchvision import models

from jacexp.errors import ConfigError
from jacexp.models.vgg import vgg16_bn


@pytest.fixture(scope="module")
def ours() -> torch.nn.Sequential:
    with torch.device("meta"):  # shapes only: 134 million parameters
        return vgg16_bn((3, 32, 32), 10)


def test_it_has_the_papers_parameters(ours):
    assert sum(p.numel() for p in ours.parameters()) == 134_309_962


def test_it_is_torchvisions_network(ours):
    with torch.device("meta"):
        theirs = models.vgg16_bn(weights=None, num_classes=10)
    assert {n: p.shape for n, p in ours.state_dict().items()} == {
        n: p.shape for n, p in theirs.state_dict().items()
    }
    mine, other = ([str(m) for m in net.modules() if not list(m.children())] for net in (ours, theirs))
    assert [m for m in mine if not m.startswith("Flatten")] == other


def test_batch_norm_follows_every_convolution(ours):
    kinds = [type(layer).__name__ for layer in ours.features]
    convolutions = [i for i, kind in enumerate(kinds) if kind == "Conv2d"]
    assert len(convolutions) == 13
    assert all(kinds[i + 1 : i + 3] == ["BatchNorm2d", "ReLU"] for i in convolutions)


@pytest.mark.parametrize("in_shape", [(1, 32, 32), (3, 28, 32), (3, 32, 28)])
def test_other_images_are_an_error(in_shape):
    with pytest.raises(ConfigError, match=r"3 channels and 32×32 pixels or more"):
        vgg16_bn(in_shape, 10)
