from itertools import pairwise

import pytest
import torch

from jacexp.evaluate.draws import BLOCK, normal, normal_like, rows, uniform, uniform_like
from jacexp.evaluate.samples import Batch


@pytest.mark.parametrize("draw", [normal, uniform])
@pytest.mark.parametrize("cuts", [(0, 1, 130), (0, BLOCK, 2 * BLOCK, 130), (0, 49, 51, 129, 130)])
def test_rows_do_not_depend_on_how_they_are_asked_for(draw, cuts):
    whole = rows(draw, 0, 130, (2, 3), 5, "test")
    parts = [rows(draw, a, b, (2, 3), 5, "test") for a, b in pairwise(cuts)]
    assert torch.equal(torch.cat(parts), whole)
    assert whole.unique().numel() > 0.99 * whole.numel()


def test_streams_and_seeds_have_their_own_rows():
    a = rows(normal, 0, 10, (3,), 0, "a")
    assert not torch.equal(a, rows(normal, 0, 10, (3,), 1, "a"))
    assert not torch.equal(a, rows(normal, 0, 10, (3,), 0, "b"))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_noise_of_a_batch_has_its_type_and_scale(dtype):
    batch = Batch(30, 530, torch.zeros(500, 1, 10, 10, dtype=dtype), torch.zeros(500))
    n, u = normal_like(batch, 0, "test"), uniform_like(batch, 0.25, 0, "test")
    assert n.dtype == u.dtype == dtype
    assert n.shape == u.shape == batch.x.shape
    # 50,000 draws: six standard errors of each estimate
    assert abs(n.mean()) < 6 / 50_000**0.5
    assert abs(n.var() - 1) < 6 * (2 / 50_000) ** 0.5
    assert 0.2499 < u.max() <= 0.25
    assert -0.25 <= u.min() < -0.2499
    assert abs(u.mean()) < 6 * 0.25 / (3 * 50_000) ** 0.5
