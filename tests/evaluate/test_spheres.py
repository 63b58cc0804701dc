"""The search against a plain loop over samples and directions."""

import math
from itertools import pairwise

import pytest
import torch

from jacexp.evaluate.spheres import nearest_change

RADII = [0.5, 1.0, 2.0, 3.5]
TOLERANCE = 1e-3
N, K = 40, 9


def crossings(seed: int) -> torch.Tensor:
    """Draw the radii at which each direction of each sample changes class and changes back, (N, K, 4), growing."""
    generator = torch.Generator().manual_seed(seed)
    return 6 * torch.rand(N, K, 4, generator=generator, dtype=torch.float64).sort(dim=2).values


def changed_by(radii: torch.Tensor):
    """Make the question for directions that change at every one of their radii: right again after two."""
    return lambda sample, direction, radius: (radii[sample, direction] <= radius[:, None]).sum(dim=1) % 2 == 1


def along_one(changed, sample: int, direction: int) -> float:
    """Search along one direction, by the definition."""

    def ask(radius: float) -> bool:
        indices = torch.tensor([sample]), torch.tensor([direction])
        return bool(changed(*indices, torch.tensor([radius], dtype=torch.float64)))

    for low, high in pairwise([0.0, *RADII]):
        if ask(high):
            for _ in range(math.ceil(math.log2(1.5 / TOLERANCE))):
                middle = (low + high) / 2
                low, high = (low, middle) if ask(middle) else (middle, high)
            return high
    return math.inf


def search(changed, n_directions: int = K, nearest: torch.Tensor | None = None) -> torch.Tensor:
    start = torch.full((N,), math.inf, dtype=torch.float64) if nearest is None else nearest
    return nearest_change(changed, start, n_directions, RADII, TOLERANCE)


@pytest.mark.parametrize("seed", range(3))
def test_is_the_smallest_distance_along_any_direction(seed):
    changed = changed_by(crossings(seed))
    expected = [min(along_one(changed, s, k) for k in range(K)) for s in range(N)]
    assert search(changed).tolist() == expected


def test_directions_may_come_in_packets():
    radii = crossings(0)
    first = search(changed_by(radii[:, :4]), 4)
    both = search(changed_by(radii[:, 4:]), K - 4, nearest=first)
    assert torch.equal(both, search(changed_by(radii)))
    assert (both <= first).all()
    assert (both < first).any()


def test_finds_a_single_crossing_within_the_tolerance():
    radii = torch.full((N, K, 1), math.inf, dtype=torch.float64)
    radii[:, 0, 0] = torch.linspace(0, 3.5, N, dtype=torch.float64)
    found = search(changed_by(radii))
    assert ((found - radii[:, 0, 0] >= 0) & (found - radii[:, 0, 0] <= TOLERANCE)).all()


def test_is_infinite_where_nothing_changes():
    found = search(lambda sample, direction, radius: (sample == 3) & (direction == 2))
    assert found[3] < TOLERANCE
    assert found[torch.arange(N) != 3].isinf().all()


def test_asks_few_questions():
    asked = []
    radii = crossings(1)

    def changed(sample, direction, radius):
        asked.append(len(sample))
        return changed_by(radii)(sample, direction, radius)

    search(changed)
    every_direction_to_the_end = N * K * (len(RADII) + math.ceil(math.log2(1.5 / TOLERANCE)))
    assert sum(asked) < every_direction_to_the_end / 3
