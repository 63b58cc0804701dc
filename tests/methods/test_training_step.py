"""What every step draws, adds up and runs on."""

import pytest
import torch
from torch.optim.lr_scheduler import CosineAnnealingLR

from jacexp.errors import ConfigError
from jacexp.methods import Method, Recipe, Terms
from jacexp.methods.draws import AHEAD
from jacexp.methods.hyperparameters import Strength
from jacexp.methods.loss_ibp import LossIBP
from jacexp.methods.method import plain_terms
from jacexp.methods.sums import Sums
from jacexp.methods.weights import WeightPenalty
from jacexp.train.module import RegularizedModule
from tests.laws import batch, make
from tests.laws import drawn as drawn_for
from tests.networks import network


def drawn(monkeypatch, method, *, seed=0, epoch=0, batch_idx=0):
    """What a training step draws for its penalty, by name."""
    module, kept = make(method, network("conv")), {}
    module.seed = seed
    compute = module.method.compute

    def kept_of(net, of, draw, strength):
        kept.update(draw(None))
        return compute(net, of, draw, strength)

    monkeypatch.setattr(module.method, "compute", kept_of)
    monkeypatch.setattr(RegularizedModule, "current_epoch", property(lambda _: epoch))
    module.training_step(batch(), batch_idx)
    return kept


@pytest.mark.parametrize("method", ["spec", "frob", "spec_bound"])
def test_noise_is_fresh_in_every_batch_epoch_and_seed_and_repeatable(monkeypatch, method):
    first = drawn(monkeypatch, method)
    for name, value in drawn(monkeypatch, method).items():
        assert torch.equal(value, first[name])
    for other in (
        {"seed": 1},
        {"epoch": 1},
        {"batch_idx": 1},
        {"batch_idx": AHEAD},
        {"batch_idx": AHEAD + 1},
    ):
        for name, value in drawn(monkeypatch, method, **other).items():
            assert not torch.equal(value, first[name]), other


@pytest.mark.parametrize("method", ["none", "loss_ibp"])
def test_dropout_masks_are_fresh_in_every_batch_epoch_and_seed_and_repeatable(monkeypatch, method):
    module = make(method, network("dropout"))

    def loss(seed=0, epoch=0, batch_idx=0):
        module.seed = seed
        monkeypatch.setattr(RegularizedModule, "current_epoch", property(lambda _: epoch))
        return module.training_step(batch(), batch_idx).item()

    before = torch.get_rng_state()
    assert loss() == loss()
    assert len({loss(), loss(seed=1), loss(epoch=1), loss(batch_idx=1)}) == 4
    assert torch.equal(torch.get_rng_state(), before)


def test_sums_weigh_every_sample_alike():
    sums = Sums()
    logits = torch.tensor([[2.0, 1.0], [0.0, 1.0], [3.0, 0.0]])
    sums.add(
        Terms(torch.tensor(5.0), torch.tensor([1.0, 2, 3]), torch.tensor([1.0, 1, 4]), logits),
        torch.tensor([0, 0, 0]),
    )
    sums.add(Terms(torch.tensor(1.0), torch.tensor([6.0]), torch.tensor(10.0), logits[:1]), torch.tensor([1]))
    assert sums.means()[0] == {"loss": 4.0, "cross_entropy": 3.0, "penalty": 4.0, "accuracy": 0.5}
    assert sums.counts() == {"n": 4, "n_correct": 2, "loss": 3.0}


def test_sums_do_not_depend_on_when_they_are_looked_at(monkeypatch):
    totals = []
    for flush in (1, 3, 50):
        monkeypatch.setattr(Sums, "FLUSH", flush)
        sums = Sums()
        for i in range(7):
            of, module = batch(i + 1), make("spec", network("conv"))
            sums.add(module.terms(of, drawn_for(module, of.x)), of.y)
        totals.append(sums.means()[0])
    for other in totals[1:]:
        assert other == pytest.approx(totals[0], rel=1e-12)


def test_the_cosine_schedule_is_pytorch_s():
    recipe = Recipe(lr=0.1, schedule="cosine", epochs=10)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    schedule = CosineAnnealingLR(optimizer, T_max=10)
    for epoch in range(10):
        assert recipe.lr_at(epoch) == pytest.approx(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()


def test_auto_takes_the_passes_where_every_layer_has_a_rule():
    for net, explicit in (("conv", True), ("batch_norm", True), ("attention", False), ("dropout", False)):
        module = make("loss_ibp", network(net))
        module.method.engine = "auto"
        terms = module.method.explicit_terms(module.net, batch(), lambda _: {}, 1.0)
        assert (terms is not None) is explicit, net


RETURNS = {
    "one number": lambda z: z.square().mean(),
    "a column": lambda z: z.square().sum(1, keepdim=True),
    "all logits": lambda z: z.square(),
    "a float": lambda z: 0.1,
    "nothing": lambda z: None,
}


@pytest.mark.parametrize("returned", RETURNS)
@pytest.mark.parametrize("base", [Method, WeightPenalty])
def test_a_penalty_of_another_shape_ends_the_first_step(base, returned):
    class OfOnesOwn(base):
        lam: Strength

        def penalty(self, lin, batch, noise):
            return RETURNS[returned](lin.logits)

        def weight_penalty(self, net, noise):
            return RETURNS[returned](net.body[-1].weight)

    wanted = r"one number a sample, \(5,\)" if base is Method else r"one number for all weights, \(\)"
    module = RegularizedModule(network("conv"), OfOnesOwn(lam=0.1))
    if base is WeightPenalty and returned == "one number":
        module.training_step(batch(), 0).backward()
        return
    with pytest.raises(ConfigError, match=f"OfOnesOwn returned .* as its penalty; it must return {wanted}"):
        module.training_step(batch(), 0)


def test_a_penalty_of_explicit_passes_has_one_number_a_sample_too():
    class Broken(LossIBP):
        def passes(self, *args):
            return super().passes(*args).sum()

    module = RegularizedModule(network("conv"), Broken(beta=0.1))
    with pytest.raises(ConfigError, match=r"Broken returned a tensor \(\) as its penalty"):
        module.training_step(batch(), 0)


OF_BETA = ("loss_ibp", "pred_ibp", "tbp", "fast_tbp")


@pytest.mark.parametrize("method", OF_BETA)
def test_beta_may_fall_as_the_learning_rate_does(monkeypatch, method):
    """As in the toolbox's scripts: beta is multiplied by the learning rate's own factor after each epoch."""
    recipe = Recipe(lr=0.1, schedule="exponential", gamma=0.98)
    monkeypatch.setattr(RegularizedModule, "current_epoch", property(lambda _: 5))
    losses = {}
    for schedule in ("constant", "learning_rate"):
        module = make(method, network("mlp"), beta=2.0, beta_schedule=schedule)
        module.recipe = recipe
        losses[schedule] = module.training_step(batch(), 0)
    terms = plain_terms(module.net, batch())
    penalty = (losses["constant"] - terms.loss) / 2.0
    torch.testing.assert_close(losses["learning_rate"], terms.loss + 2.0 * 0.98**5 * penalty)


@pytest.mark.parametrize("method", ["spec", "at"])
def test_at_strength_zero_no_penalty_is_drawn_or_computed(monkeypatch, method):
    """A penalty that is multiplied by 0 would still cost its passes, and turn an infinite one into NaN."""
    module = make(method, network("conv"))
    setattr(module.method, module.method.strength, 0.0)
    for name in ("draw", "explicit_terms", "autograd_terms"):
        monkeypatch.setattr(module.method, name, None)
    assert torch.equal(
        module.training_step(batch(), 0), make("none", network("conv")).training_step(batch(), 0)
    )
