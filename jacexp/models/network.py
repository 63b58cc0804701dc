"""A network with its normalisation inside: outside, images are in [0, 1]."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from typing_extensions import override

from jacexp.errors import ConfigError


class Normalize(nn.Module):
    """Convert pixels x in [0, 1] to network units, (x − mean) / std.

    Args:
        mean: subtracted from every image, (C, 1, 1) a channel or (C, H, W) a pixel; of vectors, (D,) a feature.
        std: divides after that, > 0, of such a shape; ones where a protocol only subtracts the mean.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean.detach().clone())
        self.register_buffer("std", std.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        """Normalise images, (B, C, H, W) -> (B, C, H, W)."""
        return (x - self.mean) / self.std

    def direction(self, t: Tensor) -> Tensor:
        """Convert differences of images from pixel to network units, t / std, (..., C, H, W)."""
        return t / self.std


class Network(nn.Module):
    """The map that is trained and attacked: z(x) = body(normalize(x)).

    The penalties differentiate ``body`` at the normalised image, attacks and noise act on x itself.

    Args:
        normalize: from [0, 1] to network units.
        body: from normalised images, (B, C, H, W), to logits, (B, n_classes).
        n_classes: the number of logits.
        origin: the arguments of ``jacexp.models.build`` that made the layers; a checkpoint makes them again.
    """

    def __init__(
        self, normalize: Normalize, body: nn.Module, n_classes: int, origin: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__()
        self.normalize = normalize
        self.body = body
        self.n_classes = n_classes
        self.origin = dict(origin or {})

    def forward(self, x: Tensor) -> Tensor:
        """Compute the logits z, (B, n_classes), of images in [0, 1], (B, C, H, W).

        Returns:
            The logits.

        Raises:
            ConfigError: if the body returns anything else.
        """
        z = self.body(self.normalize(x))
        if not isinstance(z, Tensor) or z.shape != (len(x), self.n_classes):
            found = f"a tensor {tuple(z.shape)}" if isinstance(z, Tensor) else f"a {type(z).__name__}"
            raise ConfigError(
                f"{type(self.body).__name__} returns {found} for {len(x)} images of {self.n_classes} classes; "
                f"a network must return their logits, ({len(x)}, {self.n_classes})"
            )
        return z


class Unchanged(Normalize):
    """The normalisation of a network whose own units are those of its input: none."""

    def __init__(self) -> None:
        nn.Module.__init__(self)

    @override
    def forward(self, x: Tensor) -> Tensor:
        return x

    @override
    def direction(self, t: Tensor) -> Tensor:
        return t


class Unnormalized(Network):
    """Any module, (B, *in) to logits (B, C), as a network without a normalisation of ours.

    Args:
        body: the module, which is held and not copied.
    """

    def __init__(self, body: nn.Module) -> None:
        nn.Module.__init__(self)
        self.normalize, self.body = Unchanged(), body

    @override
    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


def as_network(net: nn.Module) -> Network:
    """Return a network as it is, and any other module as an ``Unnormalized`` one."""
    return net if isinstance(net, Network) else Unnormalized(net)
