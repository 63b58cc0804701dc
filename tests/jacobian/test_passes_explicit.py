"""The explicit steps equal double back-propagation: values, gradients and running statistics, float64."""

import copy
import dataclasses
from functools import partial

import pytest
import torch
from torch import nn
from torch.func import functional_call, stack_module_state

from jacexp.errors import ConfigError
from jacexp.jacobian.explicit import explicit_loss, has_explicit_steps, value_and_grads
from jacexp.jacobian.invariance import TBP, Adversarial, FastTBP, LossIBP, PredIBP
from jacexp.jacobian.objectives import Frobenius, Plain, Spectral
from jacexp.jacobian.passes import PassesLinearization
from jacexp.jacobian.rules import RULES, Rule, register_rule
from tests.jacobian.networks import N_CLASSES, NETWORKS, batch, build
from tests.jacobian.reference import (
    DoubleBackward,
    adversarial,
    fast_tbp,
    frobenius,
    loss_ibp,
    penalized,
    pred_ibp,
    spectral,
    tbp,
)

TOLERANCE = 1e-10


def draw(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


X, Y = batch()
V, U, T = draw(*X.shape), draw(2, len(X), N_CLASSES), draw(len(X), 3, *X.shape[1:])
BASIS = torch.eye(N_CLASSES, dtype=torch.float64)[:, None].expand(-1, len(X), -1)
EPSILON = torch.tensor([0.05, 0.2], dtype=torch.float64).view(2, 1, 1)
S = 0.7

METHODS = {
    "none": (Plain(), partial(penalized, lambda lin, y: torch.zeros(1, dtype=torch.float64), 0.0)),
    "spec": (Spectral(strength=S, v=V), partial(penalized, partial(spectral, v=V), S)),
    "spec-3": (
        Spectral(strength=S, v=V, n_iter=3, power=2),
        partial(penalized, partial(spectral, v=V, n_iter=3, power=2), S),
    ),
    "spec-through": (
        Spectral(strength=S, v=V, detach=False),
        partial(penalized, partial(spectral, v=V, detach=False), S),
    ),
    "spec-through-3": (
        Spectral(strength=S, v=V, n_iter=3, power=2, detach=False),
        partial(penalized, partial(spectral, v=V, n_iter=3, power=2, detach=False), S),
    ),
    "frob": (Frobenius(strength=S, u=U), partial(penalized, partial(frobenius, u=U), S)),
    "frob-exact": (Frobenius(strength=S, u=BASIS), partial(penalized, partial(frobenius, u=BASIS), S)),
    "loss_ibp": (LossIBP(strength=S), partial(penalized, loss_ibp, S)),
    "loss_ibp-2": (LossIBP(strength=S, r=2), partial(penalized, partial(loss_ibp, r=2), S)),
    "loss_ibp-hessian": (
        LossIBP(strength=S, r=2, hessian=True),
        partial(penalized, partial(loss_ibp, r=2, hessian=True), S),
    ),
    "pred_ibp": (PredIBP(strength=S), partial(penalized, pred_ibp, S)),
    "tbp": (TBP(strength=S, tangents=T), partial(penalized, partial(tbp, tangents=T), S)),
    "fast_tbp": (FastTBP(strength=S, tangents=T), partial(penalized, partial(fast_tbp, tangents=T), S)),
    "fast_tbp-signed": (
        FastTBP(strength=S, tangents=T, signed=True, hessian=True),
        partial(penalized, partial(fast_tbp, tangents=T, signed=True, hessian=True), S),
    ),
    "at": (Adversarial(epsilon=EPSILON), partial(adversarial, epsilon=EPSILON)),
    "fast_at": (Adversarial(epsilon=EPSILON, fast=True), partial(adversarial, epsilon=EPSILON, fast=True)),
}


def relative(a, b):
    return float((a - b).detach().norm() / b.detach().norm().clamp(min=1e-12))


@pytest.mark.parametrize("train", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("method", METHODS)
def test_equals_double_backward(method, network, train):
    objective, reference = METHODS[method]
    net = build(network).train(train)
    expected_net = copy.deepcopy(net)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        parts = explicit_loss(net, X, Y, objective)
        expected = reference(expected_net, X, Y)
    parts.loss.backward()
    expected.backward()
    assert relative(parts.loss, expected) < TOLERANCE
    total = torch.cat([p.grad.flatten() for p in expected_net.parameters()]).norm()
    for (name, p), q in zip(net.named_parameters(), expected_net.parameters(), strict=True):
        assert (p.grad - q.grad).norm() < TOLERANCE * max(float(q.grad.norm()), 1e-4 * float(total)), name
    for b, c in zip(net.buffers(), expected_net.buffers(), strict=True):
        assert torch.allclose(b, c, rtol=TOLERANCE)


@pytest.mark.parametrize("method", METHODS)
def test_vmap_over_stacked_networks(method):
    objective, _ = METHODS[method]
    nets = [build("vgg", seed).eval() for seed in range(3)]
    parameters, buffers = stack_module_state(nets)
    template = copy.deepcopy(nets[0]).to("meta")

    def gradients(parameters, buffers, x):
        return functional_call(ValueAndGrads(template, objective), prefixed(parameters | buffers), (x, Y))

    parts, stacked = torch.vmap(gradients)(parameters, buffers, torch.stack([X, X, X]))
    for i, net in enumerate(nets):
        alone, expected = value_and_grads(net, X, Y, objective)
        for a, b in zip(parts, alone, strict=True):
            assert torch.allclose(a[i], b, rtol=1e-10, atol=1e-12)
        for name, gradient in expected.items():
            assert (stacked[name][i] - gradient).norm() <= 1e-10 * max(float(gradient.norm()), 1e-3), name


class ValueAndGrads(nn.Module):
    """A step as a module, for functional_call."""

    def __init__(self, net, objective):
        super().__init__()
        self.net = net
        self.objective = objective

    def forward(self, x, y):
        return value_and_grads(self.net, x, y, self.objective)


def prefixed(state):
    return {f"net.{name}": t for name, t in state.items()}


@pytest.mark.parametrize("method", ["spec", "loss_ibp", "at", "fast_at"])
def test_vmap_in_train_mode_moves_each_networks_statistics(method):
    objective, _ = METHODS[method]
    nets = [build("residual", seed) for seed in range(3)]
    parameters, buffers = stack_module_state(nets)
    module = ValueAndGrads(copy.deepcopy(nets[0]).to("meta"), objective)
    _, stacked = torch.vmap(lambda p, b: functional_call(module, prefixed(p | b), (X, Y)))(
        parameters, buffers
    )
    for i, net in enumerate(nets):
        _, expected = value_and_grads(net, X, Y, objective)
        for name, gradient in expected.items():
            assert (stacked[name][i] - gradient).norm() <= 1e-10 * max(float(gradient.norm()), 1e-3), name
        for name, b in net.named_buffers():
            assert torch.allclose(buffers[name][i], b, rtol=1e-12), name


def test_a_layer_that_its_rule_refuses_has_no_explicit_steps():
    """So that engine=auto differentiates automatically; the rule is asked, not only looked up."""
    circular = nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular")
    assert not has_explicit_steps(nn.Sequential(circular, nn.Flatten(), nn.Linear(192, 4)))
    assert has_explicit_steps(nn.Sequential(nn.Conv2d(2, 3, 3), nn.Flatten(), nn.Linear(108, 4)))


def test_strength_a_network():
    strengths = torch.tensor([0.0, 0.5, 2.0], dtype=torch.float64)
    net = build("lenet")
    stacked = torch.vmap(lambda s: value_and_grads(net, X, Y, LossIBP(strength=s)))(strengths)
    for i, s in enumerate(strengths):
        parts, gradients = value_and_grads(net, X, Y, LossIBP(strength=float(s)))
        assert torch.allclose(stacked[0].loss[i], parts.loss, rtol=1e-12)
        for name, gradient in gradients.items():
            assert torch.allclose(stacked[1][name][i], gradient, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("method", [m for m in METHODS if "at" not in m])
def test_strength_zero_is_plain(method):
    net = build("vgg").eval()
    objective = METHODS[method][0]
    if method != "none":
        objective = dataclasses.replace(objective, strength=0.0)
    _, gradients = value_and_grads(net, X, Y, objective)
    for name, expected in value_and_grads(net, X, Y, Plain())[1].items():
        assert torch.allclose(gradients[name], expected, rtol=1e-12, atol=1e-14)


def test_penalties_give_biases_nothing():
    net = build("lenet")
    plain, penalized = (value_and_grads(net, X, Y, o)[1] for o in (Plain(), LossIBP(strength=3.0)))
    for name in plain:
        assert torch.equal(plain[name], penalized[name]) == name.endswith("bias"), name


def test_gradients_accumulate_and_scale():
    net = build("lenet")
    once = value_and_grads(net, X, Y, LossIBP(strength=S))[1]
    for factor in (2.0, 3.0):
        (factor * explicit_loss(net, X, Y, LossIBP(strength=S)).loss).backward()
    for name, p in net.named_parameters():
        assert torch.allclose(p.grad, 5 * once[name], rtol=1e-12)


def test_frozen_parameters_get_no_gradient():
    net = build("lenet")
    net[0].requires_grad_(False)
    explicit_loss(net, X, Y, LossIBP(strength=S)).loss.backward()
    assert net[0].weight.grad is None
    assert net[3].weight.grad is not None


def test_shared_weights_add_up():
    layer = nn.Linear(6, 6).double()
    net = nn.Sequential(layer, nn.ReLU(), layer, nn.LeakyReLU(), nn.Linear(6, 3).double())
    x, y = draw(4, 6), torch.tensor([0, 1, 2, 0])
    _, gradients = value_and_grads(net, x, y, LossIBP(strength=S))
    loss = penalized(loss_ibp, S, net, x, y)
    for (name, p), expected in zip(
        net.named_parameters(), torch.autograd.grad(loss, [*net.parameters()]), strict=True
    ):
        assert relative(gradients[name], expected) < TOLERANCE, name
        assert p.shape == expected.shape


def test_second_backward_is_refused():
    loss = explicit_loss(build("lenet"), X, Y, Plain()).loss
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="gone after its backward pass"):
        loss.backward()


def test_dead_network_has_zero_penalty_and_finite_gradients():
    net = build("lenet")
    with torch.no_grad():
        net[0].bias.fill_(-1e3)
    for power in (1, 2):
        parts, gradients = value_and_grads(
            net, X, Y, Spectral(strength=S, v=V, power=power, detach=power == 1)
        )
        assert torch.equal(parts.penalty, torch.zeros_like(parts.penalty))
        assert all(g.isfinite().all() for g in gradients.values())


def test_autocast_runs_the_passes_in_bfloat16():
    net, x = build("vgg").float(), X.float()
    exact = value_and_grads(net, x, Y, Frobenius(strength=S, u=U.float()))
    with torch.autocast("cpu", torch.bfloat16):
        parts = explicit_loss(net, x, Y, Frobenius(strength=S, u=U.float()))
    parts.loss.backward()
    assert parts.logits.dtype == torch.bfloat16
    assert net[0].weight.grad.dtype == torch.float32
    assert float(parts.cross_entropy.mean() / exact[0].cross_entropy.mean()) == pytest.approx(1, rel=0.2)


@pytest.mark.parametrize(
    ("y", "says"),
    [
        (torch.tensor([0, 1, 2, 3, N_CLASSES]), "classes beyond the network's, 0 to 3"),
        (torch.tensor([0, 1, 2, 3, -1]), "classes beyond the network's, 0 to 3"),
        (Y.int(), r"y is torch.int32 \(5,\); classes are int64, \(5,\)"),
        (Y.double(), "y is torch.float64"),
        (Y[:3], r"y is torch.int64 \(3,\)"),
        (nn.functional.one_hot(Y, N_CLASSES), r"y is torch.int64 \(5, 4\)"),
        (Y.tolist(), "y is list"),
    ],
)
def test_what_are_no_classes_is_refused(y, says):
    for compute in (explicit_loss, value_and_grads):
        with pytest.raises(ConfigError, match=says):
            compute(build("lenet"), X, y, Plain())


def test_float16_is_refused():
    with torch.autocast("cpu", torch.float16), pytest.raises(ConfigError, match="bf16-mixed"):
        explicit_loss(build("lenet").float(), X.float(), Y, Plain())


def test_smooth_rules_are_refused():
    @register_rule(nn.Tanh)
    class Tanh(Rule):
        piecewise_linear = False

        def forward(self, x):
            self.y = x.tanh()
            return self.y

        def tangent(self, v):
            return v * (1 - self.y**2)

        transpose = tangent

    net = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 2))
    try:
        with pytest.raises(ConfigError, match="Tanh is not piecewise linear"):
            explicit_loss(net, torch.randn(3, 4), torch.zeros(3, dtype=torch.int64), Plain())
        # The linearisation itself is right for it, gradients included.
        x, v = torch.randn(3, 4), torch.randn(3, 4)
        gradients = torch.autograd.grad(PassesLinearization(net, x).jvp(v).sum(), net[0].weight)
        expected = torch.autograd.grad(DoubleBackward(net, x).jvp(v).sum(), net[0].weight)
        assert torch.allclose(gradients[0], expected[0], rtol=1e-4, atol=1e-6)
    finally:
        del RULES[nn.Tanh]
