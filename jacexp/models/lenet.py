"""The LeNet of Johansson et al., appendix A.1."""

from torch import nn

from jacexp.errors import ConfigError

MIN_SIDE = 12
"""The smallest height and width: 12 → 12 → 6 → 2 → 1."""


def lenet(in_shape: tuple[int, int, int], n_classes: int) -> nn.Sequential:
    """Build LeNet: (5, C→6, 1, 2, 2), (5, 6→16, 1, 0, 2), linear 120, 84, n_classes (Johansson et al., A.1).

    A tuple is (kernel, channels, stride, padding, max-pool); ReLU follows each layer but the last. For
    (1, 28, 28) and 10 classes the first linear layer has 400 inputs and the network 61,706 parameters.

    Args:
        in_shape: (C, H, W) with H, W ≥ 12.
        n_classes: the number of logits.

    Returns:
        The body, with the initial weights of PyTorch's layers.

    Raises:
        ConfigError: for images that are too small.
    """
    channels, height, width = in_shape
    if min(height, width) < MIN_SIDE:
        raise ConfigError(f"model=lenet needs images of {MIN_SIDE}×{MIN_SIDE} or more, not {height}×{width}")
    n_features = 16 * _pooled(height) * _pooled(width)
    return nn.Sequential(
        nn.Conv2d(channels, 6, kernel_size=5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 16, kernel_size=5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(n_features, 120),
        nn.ReLU(),
        nn.Linear(120, 84),
        nn.ReLU(),
        nn.Linear(84, n_classes),
    )


def _pooled(side: int) -> int:
    """Follow a side through both convolutions and pools: n → n/2 → n/2 − 4 → (n/2 − 4)/2, rounded down."""
    return (side // 2 - 4) // 2
