"""Replayed steps are the eager ones, and whatever cannot be replayed is taken eagerly."""

import pytest
import torch

from jacexp.data import Batch
from jacexp.methods import Recipe
from jacexp.store.checkpoint import load_network
from jacexp.store.runs import RunDirectory
from jacexp.train import fused
from jacexp.train.fused import train_together
from jacexp.train.replay import Replayed, record_on
from jacexp.train.stack import StackTraining
from tests.laws import METHODS, batch, make
from tests.networks import network
from tests.train.tape import tape

N, B = 3, 4


def together(method, kind="batch_norm", record=tape, device="cpu", **changes):
    """Make a stack of networks of different weights, strength, rate and seed."""
    modules = [make(method, network(kind, seed=n).to(device), **changes) for n in range(N)]
    for n, module in enumerate(modules):
        module.seed, module.batch_size = n, B
        module.recipe = Recipe(lr=0.05 * (n + 1), momentum=0.9, epochs=4, schedule="cosine")
        if module.method.strength:
            setattr(module.method, module.method.strength, 0.1 * (n + 1))
    return StackTraining(modules, record=record)


def train(stack, monkeypatch, n_epochs=2, n_batches=4):
    """Train on batches that differ from step to step, with a short last one, as Lightning would."""
    means = []
    for epoch in range(n_epochs):
        monkeypatch.setattr(StackTraining, "current_epoch", property(lambda _, epoch=epoch: epoch))
        stack.on_train_epoch_start()
        for number in range(n_batches):
            size = B - (number == n_batches - 1)
            of = batch(N * size)
            stack.training_step(
                Batch((of.x + 0.01 * number * epoch).clamp(0, 1), of.y.roll(number), of.tangents), number
            )
        means.append(stack.sums.means())
    return means


def count(monkeypatch, stack):
    """Count the steps that a stack takes eagerly or records."""
    calls, step = [], stack._step
    replayed = stack.step
    assert isinstance(replayed, Replayed)
    monkeypatch.setattr(replayed, "step", lambda *a: calls.append(1) or step(*a))
    return calls


@pytest.mark.parametrize("method", METHODS)
def test_replayed_training_is_eager_training(monkeypatch, method):
    replayed, eager = together(method), together(method, record=None)
    calls = count(monkeypatch, replayed)
    assert train(replayed, monkeypatch) == train(eager, monkeypatch)
    for n in range(N):
        for name, value in eager.state(n).items():
            assert torch.equal(replayed.state(n)[name], value), name
    assert len(calls) == 2 * (
        3 + 1 + 1
    )  # two shapes: warm-up, the eager step, the recording; all others replayed


SWITCHES = [
    *(("at", {"clip": True}), ("fast_at", {"clip": True}), ("frob", {"n_proj": 0}), ("frob", {"n_proj": 3})),
    *(("spec", {"detach": False}), ("spec", {"power": 2}), ("loss_ibp", {"hessian": True})),
    *(("loss_ibp", {"r": 2}), ("spec_bound", {"conv": "operator"}), ("l2", {"form": "weight_decay"})),
]


@pytest.mark.parametrize("changes", SWITCHES, ids=str)
def test_every_switch_can_be_replayed(monkeypatch, changes):
    method, words = changes
    stack = together(method, "conv", **words)
    calls = count(monkeypatch, stack)
    train(stack, monkeypatch)
    assert len(calls) == 2 * (3 + 1 + 1)


def test_a_network_that_ends_stands_still_in_replayed_steps(monkeypatch):
    stack = together("spec")
    train(stack, monkeypatch, 1)
    stack.end(1)
    stack.training_step(batch(N * B), 1)  # in the same epoch
    assert not stack.weights[1].any()
    train(stack, monkeypatch, 1)
    assert not stack.weights[1].any()
    assert stack.weights[[0, 2]].all(dim=1).any()


def test_dropout_is_never_replayed():
    stack = together("spec", "dropout")
    assert stack.step == stack._step


def counter():
    return torch.zeros(2, dtype=torch.float64)


OF = Batch(torch.ones(2, dtype=torch.float64), torch.zeros(2, dtype=torch.int64))


@pytest.mark.parametrize("error", [-1.0, -0.5, 0.1, float("nan")])
def test_a_replay_that_does_something_else_is_noticed(capsys, error):
    state = counter()
    step = Replayed(lambda of, _: state.add_(of.x), [state], lambda _: lambda: state.add_(OF.x + error))
    for _ in range(4):
        step(OF, {})
    assert state.tolist() == [4, 4]
    assert "taken eagerly" in capsys.readouterr().out


def test_a_large_step_of_one_network_hides_no_mistake_in_another(capsys):
    state, steps = counter(), torch.tensor([1000.0, 1.0], dtype=torch.float64)
    step = Replayed(
        lambda of, _: state.add_(of.x), [state], lambda _: lambda: state.add_(steps.round(decimals=-1))
    )
    for _ in range(2):
        step(Batch(steps, OF.y), {})
    assert state.tolist() == [2000, 2]
    assert "taken eagerly" in capsys.readouterr().out


def test_a_recording_that_keeps_the_values_it_was_made_with_is_noticed(capsys):
    state = counter()

    def frozen(function):
        before = state.clone()
        function()
        change = state - before
        return lambda: state.add_(change)

    step = Replayed(lambda of, _: state.add_(of.x), [state], frozen)
    for value in (1.0, 2.0, 3.0):
        step(Batch(torch.tensor([value, 10 * value], dtype=torch.float64), OF.y), {})
    assert state.tolist() == [6, 60]
    assert "taken eagerly" in capsys.readouterr().out


def test_a_step_that_asks_the_host_is_taken_eagerly(capsys):
    state = counter()
    step = Replayed(lambda of, _: state.add_(float(of.x.sum())), [state], tape)
    for value in (1.0, 2.0, 3.0):
        step(Batch(value * OF.x, OF.y), {})
    assert state.tolist() == [12, 12]
    assert "not permitted while a step is recorded" in capsys.readouterr().out


def test_a_device_out_of_memory_is_not_hidden():
    def record(function):
        raise torch.OutOfMemoryError("no")

    state = counter()
    with pytest.raises(torch.OutOfMemoryError):
        Replayed(lambda of, _: state.add_(of.x), [state], record)(OF, {})


def test_a_network_that_is_not_finite_keeps_no_other_from_being_replayed(monkeypatch):
    stack = together("spec")
    stack.weights[1] = float("nan")
    calls = count(monkeypatch, stack)
    train(stack, monkeypatch, 1)
    assert len(calls) == 2 * (3 + 1 + 1)
    assert stack.weights[[0, 2]].isfinite().all()


def test_runs_are_replayed_where_the_device_can(configure, tmp_path, monkeypatch):
    words = ("+method=spec", "data.subset=60", "data.holdout=30", "train.batch_size=16", "train.epochs=2")
    ended = {}
    for where, record in (("eager", None), ("replayed", tape)):
        monkeypatch.setattr(fused, "record_on", lambda _, record=record: record)
        cfgs = [configure(*words, f"seed={n}", results=tmp_path / where) for n in range(2)]
        train_together(cfgs)
        paths = sorted((tmp_path / where / "runs").iterdir())
        ended[where] = [load_network(RunDirectory(path), "last").state_dict() for path in paths]
    for one, other in zip(*ended.values(), strict=True):
        assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.gpu
@pytest.mark.parametrize("method", METHODS)
def test_cuda_graphs_take_the_eager_steps(monkeypatch, method):
    replayed = together(method, record=record_on(torch.device("cuda")), device="cuda")
    eager = together(method, record=None, device="cuda")
    calls = count(monkeypatch, replayed)
    for one, other in zip(train(replayed, monkeypatch), train(eager, monkeypatch), strict=True):
        assert [m == pytest.approx(o, rel=1e-9) for m, o in zip(one, other, strict=True)] == [True] * N
    assert (replayed.weights - eager.weights).norm() < 1e-9 * eager.weights.norm()
    assert len(calls) == 2 * (3 + 1 + 2)
