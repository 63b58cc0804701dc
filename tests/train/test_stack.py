"""A stack of networks has, for each of them, the loss, gradient and statistics that it would have alone."""

import pytest
import torch

from jacexp.data import Batch
from jacexp.errors import ConfigError
from jacexp.methods import Method
from jacexp.methods.at import AdversarialTraining
from jacexp.methods.draws import AHEAD
from jacexp.methods.hyperparameters import Strength
from jacexp.train.module import RegularizedModule
from jacexp.train.stack import StackedMethod, can_be_stacked
from tests.laws import METHODS, batch, make
from tests.networks import network

N, B = 3, 4
SEEDS = [7, 8, 9]
EPOCH, BATCH = 2, 19
NETWORKS = ("conv", "mlp", "batch_norm", "residual", "dropout_and_batch_norm")


def modules(method, kind, **changes):
    """Make a method on networks that differ in weights, normalisation, seed and strength."""
    made = [make(method, network(kind, seed=n), **changes) for n in range(N)]
    for n, module in enumerate(made):
        module.net.normalize.mean += 0.1 * n
        module.net.normalize.std *= 1 + n
        module.seed = SEEDS[n]
        if module.method.strength:
            setattr(module.method, module.method.strength, 0.1 * (n + 1))
    return made


def terms_alone(module, of, seed):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return module.terms(of, module.draw_ahead(of.x, EPOCH, BATCH // AHEAD)[BATCH % AHEAD])


def part(of, n):
    return Batch(*(t[n * B : (n + 1) * B] for t in of))


SWITCHES = [
    *(("at", {"clip": True}), ("fast_at", {"clip": True}), ("frob", {"n_proj": 0}), ("frob", {"n_proj": 3})),
    *(
        ("spec", {"detach": False, "n_iter": 2}),
        ("spec", {"power": 2}),
        ("loss_ibp", {"hessian": True, "r": 2}),
    ),
    *((method, {"softmax": "included"}) for method in ("pred_ibp", "tbp")),
    *(("fast_tbp", {"signed": True}), ("spec_bound", {"conv": "operator"}), ("l2", {"form": "weight_decay"})),
]


@pytest.mark.parametrize(("method", "changes"), SWITCHES)
def test_switches(method, changes):
    check(modules(method, "batch_norm", **changes), modules(method, "batch_norm", **changes))


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("method", METHODS)
def test_each_network_is_as_alone(method, kind):
    check(modules(method, kind), modules(method, kind))


def check(together, alone):
    of = batch(N * B)
    stacked = StackedMethod(together)
    stacked.stack.streams.seed(SEEDS)
    terms, gradients = stacked.terms(of, stacked.draw(of.x, EPOCH, BATCH))
    for n, module in enumerate(alone):
        expected = terms_alone(module, part(of, n), SEEDS[n])
        expected.loss.backward()
        gradient = torch.cat([p.grad.flatten() for p in module.net.parameters()])
        assert (gradients[n] - gradient).norm() < 1e-10 * gradient.norm()
        torch.testing.assert_close(terms.loss[n], expected.loss.detach(), rtol=1e-11, atol=0)
        for got, want in zip(terms[1:], expected[1:], strict=True):
            own = got.view(N, -1, *want.shape[1:])[n]
            torch.testing.assert_close(own, want.detach().expand_as(own), rtol=1e-9, atol=1e-14)
        for (name, b), c in zip(together[n].net.named_buffers(), module.net.buffers(), strict=True):
            torch.testing.assert_close(b, c, rtol=1e-11, atol=0, msg=name)


@pytest.mark.parametrize("method", METHODS)
def test_a_network_that_is_not_finite_leaves_the_others_alone(method):
    healthy, sick = modules(method, "batch_norm"), modules(method, "batch_norm")
    of = batch(N * B)
    gradients = []
    for made in (healthy, sick):
        stacked = StackedMethod(made)
        if made is sick:
            stacked.stack.weights[1] = float("nan")
        gradients.append(stacked.terms(of, stacked.draw(of.x, EPOCH, BATCH))[1])
    assert torch.equal(gradients[0][[0, 2]], gradients[1][[0, 2]])
    assert gradients[1][1].isnan().any()


def test_networks_are_views_of_the_stack():
    made = modules("spec", "batch_norm")
    stack = StackedMethod(made).stack
    with torch.no_grad():
        stack.weights.mul_(2)
        stack.body.get_buffer("1.running_mean").add_(1)
    for n, module in enumerate(made):
        own = torch.cat([p.detach().flatten() for p in module.net.parameters()])
        assert torch.equal(own, stack.weights[n])
        fresh = modules("spec", "batch_norm")[n].net
        assert torch.equal(module.net.body[1].running_mean, fresh.body[1].running_mean + 1)
        assert torch.equal(own, 2 * torch.cat([p.detach().flatten() for p in fresh.parameters()]))


def test_strength_zero_is_plain_training():
    made = modules("at", "conv")
    for module in made:
        module.method.epsilon = 0.0
    of = batch(N * B)
    stacked, plain = StackedMethod(made), StackedMethod(modules("none", "conv"))
    assert stacked.draw(of.x, EPOCH, BATCH) == {}
    (terms, gradients), (expected, wanted) = stacked.terms(of, {}), plain.terms(of, {})
    assert torch.equal(terms.loss, expected.loss)
    assert torch.equal(gradients, wanted)
    assert not terms.penalty.any()


class OfOnesOwn(Method):
    """As the README writes one: an equation, and no passes by hand."""

    lam: Strength

    def penalty(self, lin, batch, noise):
        return lin.logits.square().sum(dim=1)


class WithItsOwnStep(AdversarialTraining):
    def compute(self, net, batch, draw, strength):
        raise NotImplementedError


@pytest.mark.parametrize("method", [OfOnesOwn, WithItsOwnStep])
def test_a_method_without_passes_is_refused(method):
    assert not can_be_stacked(method)
    settings = {"epsilon" if method is WithItsOwnStep else "lam": 0.1}
    with pytest.raises(ConfigError, match=f"{method.__name__} has no explicit passes"):
        StackedMethod([RegularizedModule(network("conv"), method(**settings))])


def test_a_layer_without_a_stacked_rule_is_refused():
    stacked = StackedMethod(modules("spec", "attention"))
    of = batch(N * B)
    with pytest.raises(ConfigError, match="Attention"):
        stacked.terms(of, stacked.draw(of.x, EPOCH, BATCH))
