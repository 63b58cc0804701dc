"""Draws for several batches at once are those of each batch, whoever asks for them, when, and how long it is."""

import pytest
import torch

from jacexp.methods.draws import AHEAD, Ahead
from jacexp.train.stack import StackedMethod
from tests.laws import batch, make
from tests.networks import network

B = 4
DRAWING = ("spec", "frob", "spec_bound")


def module(method, seed=0):
    made = make(method, network("conv"), **{"n_proj": 2} if method == "frob" else {})
    made.seed, made.batch_size = seed, B
    return made


def ahead(of):
    return Ahead(of.draw_ahead, sample_dim=of.method.sample_dim, batch_size=B)


@pytest.mark.parametrize("method", DRAWING)
def test_all_draws_of_an_epoch_differ(method):
    draws, x = ahead(module(method)), batch(B).x
    for name in draws.of(x, 0, 0):
        values = torch.cat([draws.of(x, 0, number)[name].flatten() for number in range(2 * AHEAD)])
        assert len(values.unique()) == len(values)


@pytest.mark.parametrize("method", DRAWING)
def test_an_epoch_of_few_batches_keeps_no_draws_for_the_next_one(method):
    draws, x = ahead(module(method)), batch(B).x
    for number in range(2):
        of_epochs = [draws.of(x, epoch, number) for epoch in range(2)]
        for name, value in of_epochs[0].items():
            assert not torch.equal(value, of_epochs[1][name])


@pytest.mark.parametrize("method", DRAWING)
def test_a_resumed_run_draws_what_it_would_have_drawn(method):
    draws, x = ahead(module(method)), batch(B).x
    straight = [draws.of(x, 1, number) for number in range(2 * AHEAD)]
    for number in (AHEAD + 3, 5, 2 * AHEAD - 1):
        again = ahead(module(method)).of(x, 1, number)
        assert all(torch.equal(again[name], value) for name, value in straight[number].items())


@pytest.mark.parametrize("method", ["spec", "frob"])
def test_a_short_batch_takes_the_first_rows_even_where_a_run_goes_on_with_it(method):
    of = module(method)
    of_whole, of_short = (ahead(of).of(batch(n).x, 0, 3) for n in (B, B - 1))
    for name, value in of_whole.items():
        assert torch.equal(of_short[name], value.narrow(of.method.sample_dim, 0, B - 1))


@pytest.mark.parametrize("method", DRAWING)
@pytest.mark.parametrize("size", [B, B - 1])
def test_a_stack_draws_for_each_network_what_it_would_draw_alone(method, size):
    modules = [module(method, seed) for seed in (3, 4)]
    together = StackedMethod(modules).draw(batch(2 * size).x, 1, AHEAD + 1)
    alone = [ahead(module(method, seed)).of(batch(size).x, 1, AHEAD + 1) for seed in (3, 4)]
    for name, value in modules[0].method.stacked_noise(alone).items():
        assert torch.equal(together[name], value)


def test_draws_for_samples_are_made_at_once():
    of, calls = module("spec"), []
    draw = of.method.draw
    of.method.draw = lambda x, z, generator: calls.append((len(x), len(z))) or draw(x, z, generator)
    draws = ahead(of)
    for number in range(AHEAD):
        draws.of(batch(B).x, 0, number)
    assert calls == [(AHEAD * B, AHEAD * B)]
