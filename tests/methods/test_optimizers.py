"""Optimisers and schedules by their import path, alone and over a stack."""

import pytest
import torch
from torch.optim import lr_scheduler

from jacexp.data import Batch
from jacexp.errors import ConfigError
from jacexp.methods import Recipe
from jacexp.methods.optimizers import ELEMENTWISE, OptimizerChoice, SchedulerChoice, weight_decay_of
from jacexp.train.replay import Replayed
from jacexp.train.stack import StackTraining
from tests.laws import batch, make
from tests.networks import network
from tests.train import test_replay
from tests.train.tape import tape

N, B, STEPS = 3, 4, 5
SETTINGS = (
    {"weight_decay": 0.1, "betas": [0.9, 0.99]},
    {"weight_decay": 0.0, "betas": [0.8, 0.999], "amsgrad": True},
    {"weight_decay": 0.1, "betas": [0.9, 0.99]},
)


def choose(name, **given):
    return OptimizerChoice.checked(f"torch.optim.{name}", given)


def trained_together(recipes, monkeypatch, method="loss_ibp"):
    """Take some steps with a stack of networks; gives their modules."""
    modules = [make(method, network("mlp", seed=n)) for n in range(N)]
    for module, recipe in zip(modules, recipes, strict=True):
        module.recipe = recipe
    stack = StackTraining(modules)
    monkeypatch.setattr(StackTraining, "current_epoch", property(lambda _: 1))
    stack.on_train_epoch_start()
    for step in range(STEPS):
        stack.training_step(shifted(batch(N * B), step), step)
    return stack


def shifted(of, step):
    return Batch((of.x + 0.01 * step).clamp(0, 1), of.y.roll(step), of.tangents)


def trained_alone(n, optimizer, method="loss_ibp"):
    """Take the same steps with network n of the stack by PyTorch's optimiser alone."""
    module = make(method, network("mlp", seed=n))
    descent = optimizer(module.net.parameters())
    for step in range(STEPS):
        of = shifted(batch(N * B), step)
        own = Batch(of.x[n * B : (n + 1) * B], of.y[n * B : (n + 1) * B])
        descent.zero_grad()
        module.terms(own, {}).loss.backward()
        descent.step()
    return module.net


def test_adamw_of_a_stack_is_adamw_alone(monkeypatch):
    """Each with its own learning rate, decay and betas, two of them with equal ones."""
    rates = (0.01, 0.003, 0.01)
    recipes = [Recipe(lr=r, optimizer=choose("AdamW", **s)) for r, s in zip(rates, SETTINGS, strict=True)]
    stack = trained_together(recipes, monkeypatch)
    for n, (rate, settings) in enumerate(zip(rates, SETTINGS, strict=True)):
        arguments = {**settings, "betas": tuple(settings["betas"])}
        expected = trained_alone(n, lambda ps, r=rate, a=arguments: torch.optim.AdamW(ps, lr=r, **a))
        assert_equal(stack.modules_alone[n].net, expected)


def assert_equal(net, expected):
    for p, q in zip(net.parameters(), expected.parameters(), strict=True):
        assert (p - q).norm() <= 1e-12 * q.norm()


@pytest.mark.parametrize("kind", ELEMENTWISE, ids=lambda kind: kind.__name__)
def test_every_optimiser_that_is_declared_elementwise_is(monkeypatch, kind):
    rates = (0.01, 0.003, 0.03)
    stack = trained_together([Recipe(lr=r, optimizer=choose(kind.__name__)) for r in rates], monkeypatch)
    for n, rate in enumerate(rates):
        assert_equal(stack.modules_alone[n].net, trained_alone(n, lambda ps, r=rate: kind(ps, lr=r)))


def test_a_network_that_ended_stands_still_and_the_others_go_on(monkeypatch):
    recipes = [Recipe(lr=0.01, optimizer=choose("AdamW"))] * N
    stack, whole = (trained_together(recipes, monkeypatch) for _ in range(2))
    stack.end(1)
    for one in (stack, whole):
        one.training_step(batch(N * B), STEPS)
    assert not stack.weights[1].any()
    assert torch.equal(stack.weights[[0, 2]], whole.weights[[0, 2]])
    assert stack.weights.isfinite().all()


def test_the_state_of_one_network_goes_on_in_another_stack_bit_for_bit(monkeypatch):
    recipes = [Recipe(lr=0.01 * (n + 1), optimizer=choose("AdamW")) for n in range(N)]
    first, second = (trained_together(recipes, monkeypatch) for _ in range(2))
    second.training_step(shifted(batch(N * B), 9), STEPS)  # so that it is elsewhere
    for n in range(N):
        second.load_state(n, first.state(n))
    for one in (first, second):
        one.training_step(batch(N * B), STEPS)
    assert torch.equal(first.weights, second.weights)


def test_arguments_are_complete_and_floats_are_floats():
    assert choose("AdamW", weight_decay=0, betas=[0, 0.99]).arguments == {
        "weight_decay": 0.0,
        "betas": [0.0, 0.99],
        "eps": 1e-8,
        "amsgrad": False,
    }
    assert [type(v) for v in choose("Adagrad").arguments.values()] == [float] * 4


class Scaled(torch.optim.SGD):
    """A user's own: nobody says that its step of a weight depends on that weight alone."""


class Declared(torch.optim.SGD):
    elementwise = True


def test_elementwise_is_declared_and_not_inherited():
    by_name = {
        kind: OptimizerChoice.checked(f"{__name__}.{kind.__name__}", {}) for kind in (Scaled, Declared)
    }
    assert not by_name[Scaled].is_elementwise
    assert by_name[Declared].is_elementwise


class Keeper(torch.optim.SGD):
    def step(self, closure=None):
        super().step(closure)
        for group in self.param_groups:
            group["history"] = object()


class Needy(torch.optim.SGD):
    def step(self, closure, loss):
        closure()


class Deaf(torch.optim.SGD):
    def step(self, closure=None):
        super().step()


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        (Keeper, "which no checkpoint can hold"),
        (Needy, "cannot take a step"),
        (Deaf, r"calls closure 0 times in step\(closure\)"),
    ],
)
def test_what_cannot_go_on_or_step_is_refused_before_the_training(kind, why):
    choice = OptimizerChoice.checked(f"{__name__}.{kind.__name__}", {})
    with pytest.raises(ConfigError, match=why):
        choice.try_out(network("mlp"))


def test_it_says_what_weight_decay_does():
    assert weight_decay_of(choose("AdamW")) == ", weight decay decoupled from the gradient"
    assert weight_decay_of(choose("Adam", weight_decay=0.1)) == ", weight decay added to the gradient"
    decoupled = choose("Adam", weight_decay=0.1, decoupled_weight_decay=True)
    assert weight_decay_of(decoupled) == ", weight decay decoupled from the gradient"
    assert weight_decay_of(choose("Adam")) == ""


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("StepLR", {"step_size": 3, "gamma": 0.5}),
        ("MultiStepLR", {"milestones": [2, 5]}),
        ("CosineAnnealingLR", {"T_max": 10, "eta_min": 0.001}),
        ("PolynomialLR", {"total_iters": 8}),
        ("CosineAnnealingWarmRestarts", {"T_0": 4}),
    ],
)
def test_a_schedule_by_its_class_is_pytorch_s(name, given):
    choice = SchedulerChoice.checked(f"torch.optim.lr_scheduler.{name}", given)
    recipe = Recipe(lr=0.1, epochs=10, scheduler=choice)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    schedule = getattr(lr_scheduler, name)(optimizer, **given)
    for epoch in range(10):
        assert recipe.lr_at(epoch) == pytest.approx(schedule.get_last_lr()[0], rel=1e-12)
        optimizer.step()
        schedule.step()


def test_the_step_schedule_drops_and_the_warm_up_comes_first():
    recipe = Recipe(lr=1.0, schedule="step", gamma=0.1, step_epochs=2, warmup_epochs=3, epochs=8)
    rates = [recipe.lr_at(epoch) for epoch in range(8)]
    assert rates == pytest.approx([0.25, 0.5, 0.75, 1, 1, 0.1, 0.1, 0.01])


def test_replayed_steps_are_the_eager_ones(monkeypatch):
    """The gradient is recorded, and the optimiser's step taken after it."""
    stacks = []
    for record in (tape, None):
        modules = [make("spec", network("batch_norm", seed=n)) for n in range(N)]
        for n, module in enumerate(modules):
            module.seed, module.batch_size = n, B
            module.recipe = Recipe(lr=0.01 * (n + 1), epochs=4, optimizer=choose("AdamW"))
        stacks.append(StackTraining(modules, record=record))
    assert isinstance(stacks[0].step, Replayed)
    calls = test_replay.count(monkeypatch, stacks[0])
    means = [test_replay.train(stack, monkeypatch) for stack in stacks]
    assert len(calls) == 2 * (3 + 1 + 1), "two shapes: warm-up, the eager step, the recording"
    assert means[0] == means[1]
    assert torch.equal(stacks[0].weights, stacks[1].weights)
