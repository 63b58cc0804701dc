"""Noisy colour images of horizontal, vertical and diagonal stripes, and a small residual network for them."""

import torch
from torch import nn


def images(n: int = 600, noise: float = 0.2):
    draw = torch.Generator().manual_seed(0)
    y = torch.arange(n) % 3
    rows, columns = torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij")
    waves = torch.stack([rows, columns, rows + columns])[y] + 6 * torch.rand(n, 1, 1, generator=draw)
    x = 0.5 + 0.3 * waves.sin()[:, None] + noise * torch.randn(n, 3, 16, 16, generator=draw)
    return x[n // 3 :].clamp(0, 1), y[n // 3 :], x[: n // 3].clamp(0, 1), y[: n // 3]


class ResNet(nn.Module):
    def __init__(self, in_channels: int, n_classes: int, width: int = 16):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(in_channels, width, 3), nn.BatchNorm2d(width), nn.ReLU())
        self.block = nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.ReLU())
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, n_classes))

    def forward(self, x):
        x = self.stem(x)
        return self.head(x + self.block(x))
