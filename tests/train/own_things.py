"""Networks, data and a method as a user's own module would hold them."""

import sys
from typing import Literal

import numpy as np
import torch
from torch import nn

from jacexp.methods import Method, Strength


class Residual(nn.Module):
    """A convolution, batch norm and one skip connection: every layer has a rule."""

    def __init__(
        self, in_channels: int, n_classes: int, width: int = 4, norm: Literal["batch", "none"] = "batch"
    ):
        super().__init__()
        self.first = nn.Conv2d(in_channels, width, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(width) if norm == "batch" else nn.Identity()
        self.relu = nn.ReLU()
        self.second = nn.Conv2d(width, width, 3, padding=1)
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, n_classes))

    def forward(self, x):
        x = self.relu(self.norm(self.first(x)))
        return self.head(self.relu(x + self.second(x)))


class Perceptron(nn.Module):
    """A linear network for inputs of any shape, with another layer before the last."""

    def __init__(self, in_features, num_classes, layer="dropout", width=8):
        super().__init__()
        layers = {
            "dropout": nn.Dropout(),
            "layer_norm": nn.LayerNorm(width),
            "batch_norm": nn.BatchNorm1d(width),
        }
        self.layers = nn.Sequential(
            nn.Flatten(),
            nn.Linear(in_features, width),
            layers[layer],
            nn.ReLU(),
            nn.Linear(width, num_classes),
        )

    def forward(self, x):
        return self.layers(x)


class LeNet(Perceptron):
    pass


class Pair(Perceptron):
    def forward(self, x):
        return super().forward(x), x


class Wide(Perceptron):
    def __init__(self, in_features):
        super().__init__(in_features, 1000)


class Scaled(Perceptron):
    def __init__(self, in_features, n_classes):
        super().__init__(in_features, n_classes)
        self.scale = nn.Parameter(torch.empty(n_classes))


class Broken(nn.Module):
    def __init__(self):
        raise RuntimeError("no such file\nor folder")


class Named(Perceptron):
    def __init__(self, in_features, num_classes, filters=3):
        super().__init__(in_features, num_classes)


class LogitNorm(Method):
    """CE + lam · mean ‖z‖²."""

    lam: Strength

    def penalty(self, lin, batch, noise):
        return lin.logits.square().sum(dim=1)


def vectors(n: int = 60, d: int = 4, n_classes: int = 3, top: float = 1.0):
    """Draw points around a corner of the cube for each class."""
    y = np.arange(n) % n_classes
    corners = (y[:, None] >> np.arange(d)) % 2
    noise = np.random.default_rng(0).uniform(-0.2, 0.2, (n, d))
    x = np.clip(corners + noise, 0, top)
    return x, y, x[:20], y[:20]


def mnist():
    return vectors()


def pictures(n: int = 60, channels: int = 2, layout: str = "tensor"):
    """Draw noise of 2 classes: a tensor (N, C, H, W), or an array (N, H, W, C)."""
    x = torch.rand(n, channels, 16, 12, generator=torch.Generator().manual_seed(0))
    if layout == "array":
        x = x.permute(0, 2, 3, 1).numpy()
    y = torch.arange(n) % 2
    return x, y, x[:10], y[:10]


def wrong(what: str):
    """Return vectors with one thing wrong."""
    x, y, x_test, y_test = vectors()
    if what == "fails":
        raise FileNotFoundError("there is no file\nat all")
    if what == "exits":
        sys.exit("no folder given")
    nan = np.where(x > 0.5, np.nan, x)
    return {
        "three": (x, y, x_test),
        "dict": {"x_train": x},
        "none": None,
        "float labels": (x, y.astype(float), x_test, y_test),
        "nan": (nan, y, x_test, y_test),
        "negative": (x - 1, y, x_test, y_test),
        "bytes as floats": (x * 255, y, x_test, y_test),
        "labels from 1": (x, y + 1, x_test, y_test),
        "another class": (x, y, x_test, y_test + 1),
        "one class": (x, y * 0, x_test, y_test * 0),
        "fewer labels": (x, y[:-1], x_test, y_test),
        "two lengths": (x, y, x_test[:, :3], y_test),
        "unequal sizes": ([row[: 2 + k % 2] for k, row in enumerate(x)], y, x_test, y_test),
        "words": (np.array([["a", "b"]] * 60), y, x_test, y_test),
        "channels first": (np.zeros((60, 3, 8, 8)), y, np.zeros((20, 3, 8, 8)), y_test),
        "channels last": (torch.zeros(60, 8, 8, 3), y, torch.zeros(20, 8, 8, 3), y_test),
        "no images": (x, y, x_test[:0], y_test[:0]),
        "constant": (x * [0, 1, 1, 1], y, x_test, y_test),
    }[what]


NOTHING = 3
