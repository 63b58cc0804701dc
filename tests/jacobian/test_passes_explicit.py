"""Explicit steps as functions and losses; that they are each method's equation is a law, `laws.engines_agree`."""

import copy

import pytest
import torch
from torch import nn
from torch.func import functional_call, stack_module_state

from jacexp.data import Batch
from jacexp.errors import ConfigError
from jacexp.jacobian import PLAIN, Objective, explicit_loss, has_explicit_steps, value_and_grads
from jacexp.jacobian.passes import PassesLinearization
from jacexp.jacobian.rules.base import RULES, Rule, register_rule
from jacexp.models import Network, Normalize
from tests.jacobian.reference import DoubleBackward
from tests.laws import drawn, make
from tests.networks import IMAGE, N_CLASSES, body, images, labels, normals

X, Y = images() - 0.4, labels()
BATCH = Batch(X, Y, normals(len(X), 3, *IMAGE))
S = 0.7

METHODS = {
    "spec": ("spec", {}),
    "spec-3": ("spec", {"n_iter": 3, "power": 2}),
    "spec-through": ("spec", {"n_iter": 3, "power": 2, "detach": False}),
    "frob": ("frob", {"n_proj": 2}),
    "frob-exact": ("frob", {"n_proj": 0}),
    "loss_ibp": ("loss_ibp", {}),
    "loss_ibp-hessian": ("loss_ibp", {"r": 2, "hessian": True}),
    "pred_ibp": ("pred_ibp", {}),
    "tbp": ("tbp", {}),
    "fast_tbp": ("fast_tbp", {}),
    "at": ("at", {}),
    "fast_at": ("fast_at", {}),
}


def objective(method: str, strength=S, dtype=torch.float64) -> Objective:
    """The explicit passes of a method, at the network's own input."""
    name, switches = METHODS[method]
    as_it_is = Normalize(torch.zeros(2, 1, 1), torch.ones(2, 1, 1))
    module = make(name, Network(as_it_is, nn.Identity(), N_CLASSES), **switches)
    of = Batch(BATCH.x.to(dtype), BATCH.y, BATCH.tangents.to(dtype))
    noise = drawn(module, of.x)
    return module.method.objective(of, lambda _: noise, strength, as_it_is)


@pytest.mark.parametrize("method", METHODS)
def test_vmap_over_stacked_networks(method):
    of_method = objective(method)
    nets = [body("vgg", seed).eval() for seed in range(3)]
    parameters, buffers = stack_module_state(nets)
    template = copy.deepcopy(nets[0]).to("meta")

    def gradients(parameters, buffers, x):
        return functional_call(ValueAndGrads(template, of_method), prefixed(parameters | buffers), (x, Y))

    parts, stacked = torch.vmap(gradients)(parameters, buffers, torch.stack([X, X, X]))
    for i, net in enumerate(nets):
        alone, expected = value_and_grads(net, X, Y, of_method)
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
    of_method = objective(method)
    nets = [body("shortcuts", seed) for seed in range(3)]
    parameters, buffers = stack_module_state(nets)
    module = ValueAndGrads(copy.deepcopy(nets[0]).to("meta"), of_method)
    _, stacked = torch.vmap(lambda p, b: functional_call(module, prefixed(p | b), (X, Y)))(
        parameters, buffers
    )
    for i, net in enumerate(nets):
        _, expected = value_and_grads(net, X, Y, of_method)
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
    net = body("lenet")
    stacked = torch.vmap(lambda s: value_and_grads(net, X, Y, objective("loss_ibp", s)))(strengths)
    for i, s in enumerate(strengths):
        parts, gradients = value_and_grads(net, X, Y, objective("loss_ibp", float(s)))
        assert torch.allclose(stacked[0].loss[i], parts.loss, rtol=1e-12)
        for name, gradient in gradients.items():
            assert torch.allclose(stacked[1][name][i], gradient, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("method", [m for m in METHODS if "at" not in m])
def test_strength_zero_is_plain(method):
    net = body("vgg").eval()
    _, gradients = value_and_grads(net, X, Y, objective(method, 0.0))
    for name, expected in value_and_grads(net, X, Y, PLAIN)[1].items():
        assert torch.allclose(gradients[name], expected, rtol=1e-12, atol=1e-14)


def test_penalties_give_biases_nothing():
    net = body("lenet")
    plain, penalized = (value_and_grads(net, X, Y, o)[1] for o in (PLAIN, objective("loss_ibp", 3.0)))
    for name in plain:
        assert torch.equal(plain[name], penalized[name]) == name.endswith("bias"), name


def test_gradients_accumulate_and_scale():
    net = body("lenet")
    once = value_and_grads(net, X, Y, objective("loss_ibp"))[1]
    for factor in (2.0, 3.0):
        (factor * explicit_loss(net, X, Y, objective("loss_ibp")).loss).backward()
    for name, p in net.named_parameters():
        assert torch.allclose(p.grad, 5 * once[name], rtol=1e-12)


def test_frozen_parameters_get_no_gradient():
    net = body("lenet")
    net[0].requires_grad_(False)
    explicit_loss(net, X, Y, objective("loss_ibp")).loss.backward()
    assert net[0].weight.grad is None
    assert net[3].weight.grad is not None


def test_shared_weights_add_up():
    layer = nn.Linear(6, 6).double()
    net = nn.Sequential(
        nn.Flatten(), nn.Linear(128, 6).double(), layer, nn.ReLU(), layer, nn.LeakyReLU(), layer
    )
    as_it_is = Normalize(torch.zeros(2, 1, 1), torch.ones(2, 1, 1))
    gradients = []
    for engine in ("passes", "autograd"):
        module = make("loss_ibp", Network(as_it_is, net, 6))
        module.method.engine = engine
        gradients.append(torch.autograd.grad(module.terms(BATCH, {}).loss, [*net.parameters()]))
    torch.testing.assert_close(*gradients, rtol=1e-10, atol=1e-14)


def test_second_backward_is_refused():
    loss = explicit_loss(body("lenet"), X, Y, PLAIN).loss
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="gone after its backward pass"):
        loss.backward()


@pytest.mark.parametrize("method", ["spec", "spec-3", "spec-through"])
def test_dead_network_has_zero_penalty_and_finite_gradients(method):
    net = body("lenet")
    with torch.no_grad():
        net[0].bias.fill_(-1e3)
    parts, gradients = value_and_grads(net, X, Y, objective(method))
    assert torch.equal(parts.penalty, torch.zeros_like(parts.penalty))
    assert all(g.isfinite().all() for g in gradients.values())


def test_autocast_runs_the_passes_in_bfloat16():
    net, x = body("vgg").float(), X.float()
    for layer in net.modules():
        if isinstance(layer, nn.Dropout):
            layer.eval()  # the two would draw masks of their own
    of_method = objective("frob", dtype=torch.float32)
    exact = value_and_grads(net, x, Y, of_method)
    with torch.autocast("cpu", torch.bfloat16):
        parts = explicit_loss(net, x, Y, of_method)
    parts.loss.backward()
    assert parts.logits.dtype == torch.bfloat16
    assert net[0].weight.grad.dtype == torch.float32
    assert float(parts.cross_entropy.mean() / exact[0].cross_entropy.mean()) == pytest.approx(1, rel=0.02)


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
            compute(body("lenet"), X, y, PLAIN)


def test_float16_is_refused():
    with torch.autocast("cpu", torch.float16), pytest.raises(ConfigError, match="bf16-mixed"):
        explicit_loss(body("lenet").float(), X.float(), Y, PLAIN)


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
            explicit_loss(net, torch.randn(3, 4), torch.zeros(3, dtype=torch.int64), PLAIN)
        # The linearisation itself is right for it, gradients included.
        x, v = torch.randn(3, 4), torch.randn(3, 4)
        gradients = torch.autograd.grad(PassesLinearization(net, x).jvp(v).sum(), net[0].weight)
        expected = torch.autograd.grad(DoubleBackward(net, x).jvp(v).sum(), net[0].weight)
        assert torch.allclose(gradients[0], expected[0], rtol=1e-4, atol=1e-6)
    finally:
        del RULES[nn.Tanh]
