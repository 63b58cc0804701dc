"""What a data set is, before and after it is split."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from jacexp.errors import ConfigError, DataError

LEVELS = 256  # grey levels of a pixel


def in_unit_range(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Convert stored values to [0, 1]: bytes are divided by 255, floats lie there already."""
    return x.to(dtype) / 255 if x.dtype == torch.uint8 else x.to(dtype)


@dataclass(frozen=True, eq=False)
class ImageSet:
    """A data set as it was published: training and test images, kept as bytes, or floats in [0, 1]; or vectors.

    Attributes:
        name: the name under which results are reported.
        x_train: training images, (N, C, H, W), or vectors, (N, D); uint8 or float32 in [0, 1].
        y_train: their classes 0 … n_classes - 1, (N,) int64.
        x_test: test images or vectors, of the same shape and type.
        y_test: their classes, (M,) int64.
        n_classes: number of classes; each one has at least one training image.
        source: provenance, ready for JSON: each file's name, size in bytes and MD5 or SHA-256, and the
            counts.
    """

    name: str
    x_train: Tensor
    y_train: Tensor
    x_test: Tensor
    y_test: Tensor
    n_classes: int
    source: dict[str, Any]


@dataclass(frozen=True, eq=False)
class Split:
    """The images of one run: train on the first part, select on the second, report the third.

    Attributes:
        name: the name under which results are reported.
        x_train: (N, C, H, W) or (N, D), uint8 or float32 in [0, 1], with y_train, (N,) int64.
        y_train: the classes of x_train.
        x_val: the images that settings and epochs are selected on, with y_val.
        y_val: the classes of x_val.
        x_test: the images of the reported result, with y_test.
        y_test: the classes of x_test.
        n_classes: number of classes.
        source: provenance of the set, and under ``split`` how this split was made.
        val_is_test: True where validation is the test set itself, so that every table can say so.
    """

    name: str
    x_train: Tensor
    y_train: Tensor
    x_val: Tensor
    y_val: Tensor
    x_test: Tensor
    y_test: Tensor
    n_classes: int
    source: dict[str, Any]
    val_is_test: bool

    @property
    def in_shape(self) -> tuple[int, ...]:
        """Shape (C, H, W) of one image, or (D,) of one vector."""
        return tuple(self.x_train.shape[1:])

    def mean_std(self, mean: str = "channel", std: str = "channel") -> tuple[Tensor, Tensor]:
        """Return what the network subtracts from an image in [0, 1], and what it divides by.

        Both are of the training images alone, which are averaged over images and pixels (over images only for
        ``mean="pixel"``). The deviation is the biased one, around the channel's mean.

        Args:
            mean: ``channel`` (one number a channel) or ``pixel`` (one image).
            std: ``channel`` or ``none`` (divide by 1).

        Returns:
            mean, (C, 1, 1) or (C, H, W), and std, (C, 1, 1), both float32; of vectors (D,), each feature a channel.

        Raises:
            ConfigError: if ``mean`` or ``std`` has another value.
            DataError: if there is a channel without any deviation to divide by.
        """
        if mean not in ("channel", "pixel") or std not in ("channel", "none"):
            raise ConfigError(f"mean is channel or pixel, std is channel or none; got mean={mean}, std={std}")
        center, deviation = _channel_moments(self.x_train)
        if std == "none":
            deviation = torch.ones_like(deviation)
        elif not deviation.all():
            kind = "channel" if len(self.in_shape) == 3 else "feature"
            raise DataError(
                f"{self.name}: a {kind} of the training set is constant; set data.std=none, or leave it out"
            )
        if mean == "pixel":
            center = _pixel_mean(self.x_train)
        return center.float(), deviation.float()


def _channel_moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation of each channel, both (C, 1, 1) or (D,) float64; of bytes from exact counts of grey levels."""
    each = (-1, *[1] * (x.ndim - 2))
    if x.dtype != torch.uint8:
        values = x.transpose(0, 1).flatten(1).double()
        return values.mean(1).view(each), values.std(1, correction=0).view(each)
    counts = torch.stack([x[:, c].flatten().bincount(minlength=LEVELS) for c in range(x.shape[1])]).double()
    value = torch.linspace(0, 1, LEVELS, dtype=torch.float64, device=x.device)
    share = counts / counts.sum(1, keepdim=True)
    mean = share @ value
    variance = (share * (value - mean[:, None]) ** 2).sum(1)
    return mean.view(each), variance.sqrt().view(each)


def _pixel_mean(x: Tensor) -> Tensor:
    """Mean image, (C, H, W) or (D,) float64; float32 holds the sum of a thousand images of bytes exactly."""
    if x.dtype != torch.uint8:
        return x.double().mean(0)
    totals = [part.sum(0, dtype=torch.float32).double() for part in x.split(1000)]
    return torch.stack(totals).sum(0) / (len(x) * (LEVELS - 1))


class Batch(NamedTuple):
    """One batch.

    Attributes:
        x: images, (B, C, H, W) in [0, 1], or vectors, (B, D), of the type that the network has.
        y: classes, (B,) int64.
        tangents: (B, T, C, H, W), change of pixel value per unit of each transformation; or None.
    """

    x: Tensor
    y: Tensor
    tangents: Tensor | None = None
