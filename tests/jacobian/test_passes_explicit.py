"""The explicit steps equal double back-propagation: values, gradients and running statistics, float64."""

import copy
from functools import partial

import pytest
import torch
from tests.jacobian.networks import N_CLASSES, NETWORKS, batch, build
from tests.jacobian.reference import adversarial, fast_tbp, frobenius, loss_ibp, penalized, pred_ibp, spectral, tbp

from jacexp.jacobian.explicit import explicit_loss, value_and_grads
from jacexp.jacobian.invariance import TBP, Adversarial, FastTBP, LossIBP, PredIBP
from jacexp.jacobian.objectives import Frobenius, Plain, Spectral

TOLERANCE = 1e-10


def draw(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


X, Y = batch()
V, U, T = draw(*X.shape), draw(2, len(X), N_CLASSES), draw(len(X), 3, *X.shape[1:])
EPSILON = torch.tensor([0.05, 0.2], dtype=torch.float64).view(2, 1, 1)
S = 0.7

METHODS = {
    "none": (Plain(), partial(penalized, lambda lin, y: torch.zeros(1, dtype=torch.float64), 0.0)),
    "spec": (Spectral(strength=S, v=V), partial(penalized, partial(spectral, v=V), S)),
    "spec-3": (
        Spectral(strength=S, v=V, n_iter=3, power=2),
        partial(penalized, partial(spectral, v=V, n_iter=3, power=2), S),
    ),
    "frob": (Frobenius(strength=S, u=U), partial(penalized, partial(frobenius, u=U), S)),
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
