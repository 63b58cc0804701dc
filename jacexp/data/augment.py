"""Augmentation of batches, on any device; each one draws for many images at once and then transforms."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from jacexp.errors import ConfigError


class Augment(Protocol):
    """A random transformation; its draws are apart from its effect, so as not to depend on the batch size."""

    def draw(self, n: int, generator: torch.Generator) -> Tensor:
        """Draw the parameters of n images, (n, k), on the generator's device."""

    def __call__(self, x: Tensor, draws: Tensor) -> Tensor:
        """Transform x, (B, C, H, W) in [0, 1], image i by draws[i]."""


@dataclass(frozen=True)
class CropFlip:
    """Random crop and horizontal flip (Johansson et al., A.1, for CIFAR-10).

    The image is framed by ``pad`` pixels of zeros, a window of the original size is cut out at a uniformly
    drawn place, and half of the windows are mirrored.

    Attributes:
        pad: width of the frame in pixels, 0 or more.

    Raises:
        ConfigError: if ``pad`` is negative.
    """

    pad: int = 4

    def __post_init__(self) -> None:
        if self.pad < 0:
            raise ConfigError(f"pad={self.pad} must be 0 or more pixels")

    def draw(self, n: int, generator: torch.Generator) -> Tensor:
        """Draw (n, 3) int64: the window's top and left, 0 … 2·pad, and 1 to mirror it."""
        device = generator.device
        corner = torch.randint(2 * self.pad + 1, (n, 2), generator=generator, device=device)
        return torch.cat([corner, torch.randint(2, (n, 1), generator=generator, device=device)], dim=1)

    def __call__(self, x: Tensor, draws: Tensor) -> Tensor:
        """Cut each image's window, (B, C, H, W), out of the framed image."""
        n, channels, height, width = x.shape
        top, left, mirror = draws[:, :, None].unbind(1)
        rows = top + torch.arange(height, device=x.device)
        across = torch.arange(width, device=x.device)
        columns = left + torch.where(mirror.bool(), across.flip(0), across)
        framed = F.pad(x, [self.pad] * 4)
        pixels = rows[:, :, None] * framed.shape[3] + columns[:, None, :]
        return framed.flatten(2).gather(2, pixels.view(n, 1, -1).expand(-1, channels, -1)).view_as(x)


@dataclass(frozen=True)
class Affine:
    """Random shift, scaling and rotation about the centre (Demyanov et al., 5.4, Figure 4).

    The pixel at p, measured from the centre, shows what the image had at R(-angle) · p / scale - shift: the
    content is shifted, rotated clockwise, then scaled along each axis. Bilinear between pixels, 0 outside the
    image.

    Attributes:
        shift: largest shift along each axis in pixels, uniform in ±shift.
        scale: largest scaling of each axis; 1.4 in the paper.
        scale_law: ``log_uniform`` in [1/scale, scale] (toolbox) or ``uniform`` in [0.7, scale] (text).
        degrees: largest rotation, uniform in ±degrees.

    Raises:
        ConfigError: if a range is negative, ``scale`` is below 1, or ``scale_law`` has another value.
    """

    shift: float = 2.0
    scale: float = 1.4
    scale_law: str = "log_uniform"
    degrees: float = 18.0

    def __post_init__(self) -> None:
        if self.shift < 0 or self.degrees < 0 or self.scale < 1:
            raise ConfigError(f"{self}: shift and degrees must be 0 or more, scale 1 or more")
        if self.scale_law not in ("log_uniform", "uniform"):
            raise ConfigError(f"scale_law={self.scale_law} must be log_uniform or uniform")

    def draw(self, n: int, generator: torch.Generator) -> Tensor:
        """Draw (n, 5) float32: shift x and y in pixels, scale x and y, angle in radians."""
        unit = torch.rand(n, 5, generator=generator, device=generator.device)
        signed = 2 * unit - 1
        if self.scale_law == "log_uniform":
            scale = (signed[:, 2:4] * math.log(self.scale)).exp()
        else:
            scale = 0.7 + (self.scale - 0.7) * unit[:, 2:4]
        shift, angle = signed[:, :2] * self.shift, signed[:, 4:] * math.radians(self.degrees)
        return torch.cat([shift, scale, angle], dim=1)

    def __call__(self, x: Tensor, draws: Tensor) -> Tensor:
        """Sample each image at its transformed grid, (B, C, H, W)."""
        height, width = x.shape[2:]
        shift_x, shift_y, scale_x, scale_y, angle = draws.to(x.dtype).unbind(1)
        cos, sin = angle.cos(), angle.sin()
        # grid_sample's coordinates run from -1 to 1 along either side, whatever its length in pixels.
        to_x = torch.stack([cos / scale_x, sin / scale_y * height / width, -shift_x * 2 / width], dim=1)
        to_y = torch.stack([-sin / scale_x * width / height, cos / scale_y, -shift_y * 2 / height], dim=1)
        grid = F.affine_grid(torch.stack([to_x, to_y], dim=1), list(x.shape), align_corners=False)
        return F.grid_sample(x, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


AUGMENTS: dict[str, Callable[[], Augment]] = {
    "crop_flip": CropFlip,
    "affine": Affine,
    "affine_text": partial(Affine, scale_law="uniform"),
}
"""The augmentations of both papers by name; ``affine_text`` takes the range of scales as the text prints it."""
