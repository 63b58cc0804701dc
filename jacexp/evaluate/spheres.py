"""Search for the nearest change on concentric spheres, for many samples and directions at once."""

import math
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

Changed = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Maps indices of samples (M,), of directions (M,) and radii (M,) to whether the class is another there, (M,) bool."""


def nearest_change(
    changed: Changed, nearest: Tensor, n_directions: int, radii: list[float], tolerance: float
) -> Tensor:
    """Lower each sample's distance to the nearest change along any of its directions.

    The distance along one direction is where a binary search ends between the first sphere on which it changes and
    the sphere before. The result is the smallest of these over all directions, though most are never searched to the
    end: all directions are tried on one sphere after the other, only those that change on the first sphere with any
    change go on to the binary search, and each halving leaves only those that change nearest.

    Args:
        changed: the question asked of points on the spheres.
        nearest: distances that are known already, (B,); inf where none is.
        n_directions: directions of each sample.
        radii: of the spheres, growing, > 0.
        tolerance: width at which the binary search ends, > 0.

    Returns:
        The distances, at most ``nearest``, (B,); a change lies at most the tolerance before each.
    """
    inner, outer, crossing = _first_sphere(changed, nearest, n_directions, radii)
    if not crossing.any():
        return nearest
    widest = max(high - low for low, high in pairwise([0.0, *radii]))
    for _ in range(math.ceil(math.log2(max(widest / tolerance, 1)))):
        inner, outer, crossing = _halved(changed, inner, outer, crossing)
    return torch.minimum(nearest, outer)


def _first_sphere(
    changed: Changed, nearest: Tensor, n_directions: int, radii: list[float]
) -> tuple[Tensor, Tensor, Tensor]:
    """Find the first sphere with a change: the radius before, its radius (inf if none), and which directions change."""
    inner, outer = torch.zeros_like(nearest), torch.full_like(nearest, math.inf)
    crossing = torch.zeros(len(nearest), n_directions, dtype=torch.bool, device=nearest.device)
    for low, high in pairwise([0.0, *radii]):
        # Beyond a distance that is known there is nothing to gain.
        searched = outer.isinf() & (nearest > low)
        sample, direction = searched[:, None].expand_as(crossing).nonzero(as_tuple=True)
        if len(sample) == 0:
            break
        crossing[sample, direction] = changed(sample, direction, torch.full_like(nearest, high)[sample])
        hit = searched & crossing.any(dim=1)
        inner[hit], outer[hit] = low, high
    return inner, outer, crossing


def _halved(
    changed: Changed, inner: Tensor, outer: Tensor, crossing: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Try the sphere halfway between, and keep only the directions that may still be the nearest."""
    middle = (inner + outer) / 2
    sample, direction = crossing.nonzero(as_tuple=True)
    nearer = torch.zeros_like(crossing)
    nearer[sample, direction] = changed(sample, direction, middle[sample])
    hit = nearer.any(dim=1)
    inner, outer = torch.where(hit, inner, middle), torch.where(hit, middle, outer)
    return inner, outer, torch.where(hit[:, None], nearer, crossing)
