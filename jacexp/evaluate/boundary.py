"""Distance to the decision boundary, by search on concentric spheres."""

import math
from dataclasses import dataclass
from functools import partial
from typing import Literal

import pandas as pd
import torch
from torch import Tensor

from jacexp.evaluate.checks import flags
from jacexp.evaluate.draws import BLOCK, normal, rows
from jacexp.evaluate.frozen import finite_logits, frozen
from jacexp.evaluate.points import Row, count, points, summary
from jacexp.evaluate.samples import Batch, Samples
from jacexp.evaluate.settings import AtLeastOne, Positive, Seed, checked
from jacexp.evaluate.spheres import nearest_change
from jacexp.models.network import Network

Space = Literal["pixel", "normalised"]

PACKET = 32
"""Directions drawn and searched together; the numbers depend on it, so it is no setting."""


@checked
def boundary(
    samples: Samples,
    *,
    n_directions: AtLeastOne = 256,
    max_radius: Positive = 24.0,
    n_spheres: AtLeastOne = 12,
    tolerance: Positive = 0.01,
    clip: bool = False,
    space: Space = "pixel",
    seed: Seed = 0,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Measure how far each sample is from a point that the network classifies otherwise (Johansson et al., Figure 4).

    distance(x) = min_k min{r : class(x + r·d_k) ≠ class(x)} over directions d_k, uniform on the unit sphere, a set of
    its own for each sample. Spheres of growing radius are tried until one has a changed class in some direction; a
    binary search between that sphere and the one before ends within the tolerance. It is exact along a direction
    that crosses the boundary once, bounds the true distance from above, and can only shrink with more directions,
    since those of a smaller set come first in a larger one. Only samples that are classified right are searched.

    Args:
        samples: of a network; its batch size is that of the points tried.
        n_directions: random directions a sample.
        max_radius: radius of the largest sphere, in units of the space.
        n_spheres: spheres with radii max_radius/n_spheres, …, max_radius.
        tolerance: what the binary search may be off by, in units of the space.
        clip: whether the points of the spheres are clipped to pixels in [0,1]. The distance stays the sphere's radius,
            which is then more than the distance moved.
        space: whether spheres are round in [0,1] pixels or in the network's normalised units.
        seed: of the directions; networks evaluated with one seed are searched along the same.

    Returns:
        Two tables. Points, with the variable ``radius``, how many of the searched samples keep their class on all
        spheres up to it; with ``n_directions``, the statistic ``distance`` over the samples with a boundary within
        max_radius, as directions are added. Flags: ``unfound`` with the number of samples without, ``few_directions``
        if the last doubling still shrank the mean by over 5 %. Samples, with the columns ``sample`` (its
        index), ``correct``, ``found``, ``distance`` (inf where none was found, NaN for a sample that was not searched).
    """
    radii = [max_radius * (i + 1) / n_spheres for i in range(n_spheres)]
    search = Search(samples.net, radii, tolerance, clip, space, samples.batch_size)
    with frozen(samples.net), torch.no_grad():
        parts = [search.distances(batch, n_directions, seed) for batch in samples.batches(BLOCK)]
    distances = torch.cat(parts, dim=1).cpu()
    threat = f"random directions in {space} space, L2, {'clipped to [0,1]' if clip else 'not clipped'}"
    curves = _radius_rows(radii, distances[-1]) + _direction_rows(n_directions, distances)
    return points(curves, threat), _sample_table(distances[-1])


@dataclass(frozen=True)
class Search:
    """The search around samples, along given directions.

    Attributes:
        net: a frozen network.
        radii: of the spheres, growing.
        tolerance: width at which the binary search ends.
        clip: whether points are clipped to [0,1].
        space: where the spheres are round.
        batch_size: points a forward pass.
    """

    net: Network
    radii: list[float]
    tolerance: float
    clip: bool
    space: Space
    batch_size: int

    def distances(self, batch: Batch, n_directions: int, seed: int) -> Tensor:
        """Return the distances of a batch of one block after each packet of directions.

        Returns:
            (packets, B); NaN for samples that are classified wrong, inf where nothing was found.
        """
        classes = finite_logits(self.net, batch.x).argmax(dim=1)
        kept = (classes == batch.y).nonzero()[:, 0]
        x, classes = batch.x[kept], classes[kept]
        nearest = torch.full((len(kept),), math.inf, dtype=torch.float64, device=x.device)
        n_packets = math.ceil(n_directions / PACKET)
        history = nearest.new_full((n_packets, len(batch.y)), math.nan)
        for packet in range(n_packets):
            size = min(PACKET, n_directions - packet * PACKET)
            d = self._directions(batch, seed, packet)[kept, :size]
            changed = partial(self._changed, x, d, classes)
            nearest = nearest_change(changed, nearest, size, self.radii, self.tolerance)
            history[packet, kept] = nearest
        return history

    def _directions(self, batch: Batch, seed: int, packet: int) -> Tensor:
        """Draw a packet of directions, (B, PACKET, *in): steps of length 1 in the space, expressed in pixels."""
        shape = (PACKET, *batch.x.shape[1:])
        d = rows(normal, batch.start, batch.stop, shape, seed, "boundary", packet).to(batch.x)
        d = d / torch.linalg.vector_norm(d, dim=list(range(2, d.ndim)), keepdim=True)
        return d if self.space == "pixel" else d * self.net.normalize.std

    def _changed(
        self, x: Tensor, d: Tensor, classes: Tensor, sample: Tensor, direction: Tensor, radius: Tensor
    ) -> Tensor:
        """Return which points x_s + r·d_sk have another class than x_s, (M,) bool, for M triples s, k, r."""
        answers = []
        for s, k, r in zip(*(i.split(self.batch_size) for i in (sample, direction, radius)), strict=True):
            moved = x[s] + r.to(x).view(-1, *[1] * (x.ndim - 1)) * d[s, k]
            moved = moved.clamp(0, 1) if self.clip else moved
            answers.append(finite_logits(self.net, moved).argmax(dim=1) != classes[s])
        return torch.cat(answers)


def _radius_rows(radii: list[float], distance: Tensor) -> list[Row]:
    """Count the searched samples without a change on any sphere up to each radius."""
    searched = distance[~distance.isnan()]
    return [{"variable": "radius", "value": radius, **count(searched > radius)} for radius in radii]


def _direction_rows(n_directions: int, history: Tensor) -> list[Row]:
    """Summarise the distances after 1, 2, 4, … packets and after all of them."""
    n_packets = len(history)
    marks = sorted({n_packets, *(2**i for i in range(n_packets.bit_length()) if 2**i <= n_packets)})
    searched = history[:, ~history[-1].isnan()]
    found = searched[-1].isfinite()
    unfound = int((~found).sum())
    check = flags(f"unfound={unfound}" if unfound else "", _few_directions(searched))
    table = []
    for mark in marks:
        distance = searched[mark - 1]
        row = {"variable": "n_directions", "value": min(mark * PACKET, n_directions), "n": distance.numel()}
        table.append({**row, **summary("distance", distance[distance.isfinite()])})
    table[-1]["check"] = check
    return table


def _few_directions(searched: Tensor) -> str:
    """Raise a flag if the last doubling of the directions shrank the mean distance by over 5 %."""
    half, all_of_them = searched[(len(searched) - 1) // 2], searched[-1]
    both = half.isfinite()
    shrinks = len(searched) > 1 and all_of_them[both].mean() < 0.95 * half[both].mean()
    return "few_directions" if shrinks else ""


def _sample_table(distance: Tensor) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "sample": range(len(distance)),
            "correct": (~distance.isnan()).numpy(),
            "found": distance.isfinite().numpy(),
            "distance": distance.numpy(),
        }
    )
