"""Several shares of a batch are the batch: their rows, draws, losses and gradients."""

import copy

import pytest
import torch

from jacexp.methods.distributed import Share
from tests.laws import METHODS, batch, drawn, make
from tests.networks import network

SIZES = (5, 2)  # unequal shares for three processes, and none for the last


def gradients(module, of):
    """The gradients of a training step by name."""
    module.zero_grad()
    module.training_step(of, 0).backward()
    return {name: p.grad.clone() for name, p in module.named_parameters()}


@pytest.mark.parametrize("engine", ["autograd", "passes"])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("n", SIZES)
def test_the_average_of_the_gradients_is_that_of_the_joined_batch(method, n, engine):
    whole = make(method, network("conv"))
    whole.method.engine = engine
    shares = [copy.deepcopy(whole) for _ in range(3)]
    expected = gradients(whole, batch(n))
    for rank, module in enumerate(shares):
        module.share = Share(rank, 3)
    found = [gradients(module, batch(n)) for module in shares]
    for name, gradient in expected.items():
        torch.testing.assert_close(sum(part[name] for part in found) / 3, gradient, rtol=1e-11, atol=1e-13)
    totals = [module.sums.means()[0] for module in shares if module.sums.n]
    counts = [module.sums.n for module in shares if module.sums.n]
    assert sum(counts) == n
    for name, mean in whole.sums.means()[0].items():
        assert sum(t[name] * c for t, c in zip(totals, counts, strict=True)) / n == pytest.approx(mean)


@pytest.mark.parametrize("method", ["spec", "frob"])
@pytest.mark.parametrize("n", SIZES)
def test_the_shares_of_what_is_drawn_are_what_is_drawn_for_the_batch(method, n):
    module = make(method, network("conv"))
    noise = drawn(module, batch(n).x)
    parts = [Share(rank, 3).noise(noise, module.method.sample_dim) for rank in range(min(3, n))]
    for name, whole in noise.items():
        for row in range(n):
            own = parts[row % 3][name].select(module.method.sample_dim, row // 3)
            assert torch.equal(own, whole.select(module.method.sample_dim, row))


def test_every_process_draws_the_whole_of_a_weight_penalty():
    module = make("spec_bound", network("conv"))
    noise = drawn(module, batch().x)
    assert Share(1, 2).noise(noise, module.method.sample_dim) is noise


def test_dropout_masks_differ_between_the_shares():
    module = make("none", network("dropout"))
    same = batch(1)._replace(x=batch(1).x.expand(2, -1, -1, -1), y=batch(1).y.expand(2))
    losses = set()
    for rank in range(2):
        module.share = Share(rank, 2)
        losses.add(module.training_step(same, 0).item())
    assert len(losses) == 2


def test_one_process_has_all_there_is():
    share, of = Share(), batch()
    assert share.rows(of.x) is of.x
    assert share.count(5) == 5
    assert share.weighted(of.x, 5) is of.x
    assert share.agree(True, False) == [True, False]
    assert share.gather("state") == ["state"]
