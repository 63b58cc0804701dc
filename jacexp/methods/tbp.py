"""Tangent back-propagation."""

from typing import Literal, Unpack

import torch
from torch import Tensor
from typing_extensions import override

from jacexp.data import Batch, Tangents
from jacexp.errors import ConfigError
from jacexp.jacobian import Linearization, Objective, invariance
from jacexp.jacobian.norms import per_sample_norm
from jacexp.jacobian.objectives import Strength
from jacexp.methods.base import RegularizedModule, Settings, require
from jacexp.methods.draws import Noise
from jacexp.models import Network
from jacexp.models.network import Normalize


class TangentBP(RegularizedModule):
    """CE + beta · mean Σ_t ‖J t‖₁ over the five tangent vectors t of each image (Demyanov et al., Eq. 3, r = 1).

    J is that of the logits, without the softmax's gradient (section 5). The tangents are those of two shifts, two
    scalings and a rotation of the image smoothed by a Gaussian; see `jacexp.data.Tangents`.
    """

    strength = "beta"

    def __init__(
        self,
        net: Network,
        *,
        beta: float,
        sigma: float = 0.9,
        tangent_unit: Literal["pixel", "half_side"] = "pixel",
        precompute: bool = True,
        **settings: Unpack[Settings],
    ) -> None:
        """Take the strength and what the tangents are.

        Args:
            net: the network.
            beta: the strength, ≥ 0.
            sigma: deviation of the Gaussian, in pixels.
            tangent_unit: unit of the coordinates that scaling and rotation multiply by.
            precompute: compute the tangents once a data set; under augmentation they must follow each image as it
                is drawn, so that it has to be False there.
            settings: how the network is trained.

        Raises:
            ConfigError: for a negative strength; a wrong sigma or unit is refused when the tangents are made.
        """
        super().__init__(net, **settings)
        require(beta >= 0, f"method.beta={beta}: the strength must not be negative")
        self.beta = beta
        self.sigma = sigma
        self.tangent_unit = tangent_unit
        self.precompute = precompute

    def tangents(self, in_shape: tuple[int, int, int], device: torch.device) -> Tangents:
        """Make what computes the tangents of images of a shape."""
        return Tangents(in_shape, sigma=self.sigma, unit=self.tangent_unit, device=device)

    @override
    def objective(self, batch: Batch, noise: Noise, strength: Strength, normalize: Normalize) -> Objective:
        return invariance.TBP(strength=strength, tangents=directions(batch, normalize))

    def penalty(self, lin: Linearization, batch: Batch, noise: Noise) -> Tensor:  # noqa: ARG002
        """Σ_t ‖J t‖₁ of each sample, (B,), summed over tangents and logits."""
        return torch.stack(
            [per_sample_norm(lin.jvp(t), ord=1) for t in directions(batch, self.net.normalize).unbind(1)]
        ).sum(dim=0)


def directions(batch: Batch, normalize: Normalize) -> Tensor:
    """Bring the tangents of a batch to the network's units.

    Returns:
        The tangents, (B, 5, C, H, W).

    Raises:
        ConfigError: if the batch comes without tangents.
    """
    if batch.tangents is None:
        raise ConfigError("this method needs batches with tangents: give the loader tangents=...")
    return normalize.direction(batch.tangents)
