"""The VGG16 with batch normalisation of Johansson et al., appendix A.1."""

from collections import OrderedDict

from torch import nn

from jacexp.errors import ConfigError

MIN_SIDE = 32
"""The smallest height and width: five pools halve it."""


def vgg16_bn(in_shape: tuple[int, int, int], n_classes: int) -> nn.Sequential:
    """Build torchvision's ``vgg16_bn``: batch norm after each of its 13 convolutions, ReLU after both.

    It has 134,309,962 parameters for 10 classes. On 32×32 images its 7×7 average pooling repeats the one
    pixel that is left, as torchvision's does. Parameters have torchvision's names, so its checkpoints fit.

    Args:
        in_shape: (3, H, W) with H, W ≥ 32.
        n_classes: the number of logits.

    Returns:
        The body, with the initial weights of PyTorch's layers.

    Raises:
        ConfigError: for other than 3 channels, or images that are too small.
    """
    channels, height, width = in_shape
    if channels != 3 or min(height, width) < MIN_SIDE:
        raise ConfigError(
            f"model=vgg16_bn needs images of 3 channels and {MIN_SIDE}×{MIN_SIDE} pixels or more, "
            f"not {channels} and {height}×{width}"
        )
    from torchvision import models  # here, because it takes seconds that the small networks need not wait for

    vgg = models.vgg16_bn(weights=None, init_weights=False, num_classes=n_classes)
    parts = {
        "features": vgg.features,
        "avgpool": vgg.avgpool,
        "flatten": nn.Flatten(),
        "classifier": vgg.classifier,
    }
    return nn.Sequential(OrderedDict(parts))
