"""Networks, data and a method as a user's own module would hold them."""

from typing import Literal

import torch
from torch import nn

from jacexp.methods import RegularizedModule, Strength


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


class LogitNorm(RegularizedModule):
    """CE + lam · mean ‖z‖²."""

    lam: Strength

    def penalty(self, lin, batch, noise):
        return lin.logits.square().sum(dim=1)


NOTHING = 3
