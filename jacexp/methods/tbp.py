"""Tangent back-propagation."""

from functools import lru_cache
from typing import Annotated, Literal

import torch
from torch import Tensor
from typing_extensions import override

from jacexp.data.spec import Batch
from jacexp.data.tangents import Tangents
from jacexp.errors import ConfigError
from jacexp.jacobian.linearize import Linearization
from jacexp.jacobian.norms import per_sample_norm
from jacexp.jacobian.step import Factor, Passed, Step, scaled
from jacexp.methods.draws import Noise
from jacexp.methods.hyperparameters import AddedLater
from jacexp.methods.invariance import InvariantBackpropagation, Softmax, through_softmax
from jacexp.models.network import Normalize
from jacexp.ranges import Positive


class OfTangents(InvariantBackpropagation):
    """What both methods share that have tangent vectors.

    They are those of two shifts, two scalings and a rotation of the image smoothed by a Gaussian of deviation ``sigma``
    in pixels, which beyond its ``border`` goes on or is 0; ``tangent_unit`` is the unit of the coordinates that scaling
    and rotation multiply by, see `jacexp.data.Tangents`. ``precompute`` makes them once a data set; under augmentation
    they must follow each image as it is drawn, so that it has to be False.
    """

    sigma: Positive = 0.9
    tangent_unit: Literal["pixel", "half_side"] = "pixel"
    border: Annotated[Literal["replicate", "zero"], AddedLater("replicate")] = "replicate"
    precompute: bool = True

    @override
    def tangents(
        self, in_shape: tuple[int, ...], device: torch.device, dtype: torch.dtype = torch.float32
    ) -> Tangents:
        return _tangents(in_shape, self.sigma, self.tangent_unit, self.border, device, dtype)


@lru_cache(maxsize=8)  # 0.2 ms, which a loss in a training loop of one's own would pay at each step
def _tangents(
    in_shape: tuple[int, ...],
    sigma: float,
    unit: str,
    border: str,
    device: torch.device,
    dtype: torch.dtype,
) -> Tangents:
    with torch.inference_mode(False):  # or what is kept could not take part in a training later
        return Tangents(in_shape, sigma=sigma, unit=unit, border=border, device=device, dtype=dtype)


class TangentBP(OfTangents):
    """CE + beta · mean Σ_t ‖J t‖₁ over the five tangent vectors t of each image (Demyanov et al., Eq. 3, r = 1).

    J is that of the logits, without the softmax's gradient (section 5); ``softmax="included"`` is Σ_t ‖P J t‖₁,
    P = diag p − p pᵀ held constant.
    """

    softmax: Softmax = "omitted"

    @override
    def penalty(self, lin: Linearization, batch: Batch, noise: Noise) -> Tensor:
        """Σ_t ‖J t‖₁ of each sample, (B,), summed over tangents and logits."""
        tangents = directions(batch).unbind(1)
        products = [lin.jvp(t) for t in tangents]
        if self.softmax == "included":
            products = [through_softmax(lin.logits.softmax(dim=1), Jt) for Jt in products]
        return torch.stack([per_sample_norm(Jt, ord=1) for Jt in products]).sum(dim=0)

    @override
    def passes(
        self, step: Step, batch: Batch, noise: Noise, strength: Factor, normalize: Normalize
    ) -> Tensor:
        """F(y), F(t_1 … t_T), Bx[dy; s_1 … s_T], Bw[y; t̃]ᵀ[dy; s]; none of them reaches the input.

        s_t is sign(J t), or P sign(P J t).

        Returns:
            The penalty, (B,).
        """
        passed: Passed = {}
        t = directions(batch).transpose(0, 1).flatten(0, 1).to(step.dy.dtype)
        Jt = step.lin.forward(t, passed.__setitem__)
        s = Jt.sign()
        if self.softmax == "included":
            Jt = through_softmax(step.p, Jt)
            s = through_softmax(step.p, Jt.sign())
        rows = torch.cat([step.dy, scaled(s, strength)])
        step.lin.adjoints(rows, lambda i, u: step.add(i, [passed.pop(i)], [u]), loss=True)
        return per_sample_norm(Jt, 1).view(-1, len(step.y)).sum(dim=0)


def directions(batch: Batch) -> Tensor:
    """Return the tangents of a batch in the network's units, (B, 5, C, H, W).

    Raises:
        ConfigError: if the batch comes without tangents.
    """
    if batch.tangents is None:
        raise ConfigError("this method needs batches with tangents: give the loader tangents=...")
    return batch.tangents
