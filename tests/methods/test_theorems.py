"""The theorems of Demyanov et al., sections 3 and 7, on the code that trains."""

import pytest
import torch
from numpy.polynomial.hermite_e import hermegauss
from torch import nn
from torch.nn.functional import max_pool2d, one_hot, unfold

from jacexp.data import Batch
from jacexp.jacobian import linearize
from jacexp.models import Network, Normalize
from jacexp.random import make_generator
from tests.laws import batch, make, penalty, steps
from tests.networks import N_CLASSES, images, network, normals

IBP = ["loss_ibp", "pred_ibp", "at", "fast_at", "tbp", "fast_tbp"]
LINEAR = {
    "linear": lambda: nn.Sequential(nn.Flatten(), nn.Linear(128, 3)),
    "conv": lambda: nn.Sequential(nn.Conv2d(2, 3, 3, stride=2, padding=1), nn.Flatten()),
    "average_pool": lambda: nn.Sequential(nn.AvgPool2d(3, stride=2), nn.Flatten()),
}
SYMMETRIC = {
    "softmax": (nn.Softmax(1), lambda y, v: y * v - y * (y * v).sum(1, keepdim=True)),
    "relu": (nn.ReLU(), lambda y, v: v * (y > 0)),
    "sigmoid": (nn.Sigmoid(), lambda y, v: y * (1 - y) * v),
}


def drawn(layer):
    """Draw the parameters of a layer, in float64."""
    layer = layer.double()
    for p in layer.parameters():
        nn.init.normal_(p, generator=make_generator(0, "test", "layer"))
    return layer


@pytest.mark.parametrize("name", LINEAR)
def test_theorem_1_the_double_reverse_of_a_linear_layer_is_its_forward(name):
    """1: dỹᵢ = dỹᵢ₋₁ · wᵢ, the layer itself without its bias."""
    layer, x, v = drawn(LINEAR[name]()), images(), normals(5, 2, 8, 8)
    bias = layer(torch.zeros_like(x))
    third = linearize(layer, x, engine="autograd").jvp(v)
    torch.testing.assert_close(third, layer(v) - bias)
    if name != "average_pool":
        assert bias.abs().min() > 0.1, "a bias that would show"


def test_theorem_1_weight_gradients_of_the_third_pass_are_those_of_the_first():
    """2: dw̃ᵢ = dỹᵢ₋₁ᵀ · dyᵢ, and nothing for the bias; a convolution multiplies patches."""
    x, v = images(), normals(5, 2, 8, 8)
    for name, patches in (("linear", v.flatten(1)[:, :, None]), ("conv", unfold(v, 3, padding=1, stride=2))):
        layer = drawn(LINEAR[name]())
        lin = linearize(layer, x, engine="autograd")
        dy = normals(*lin.logits.shape, seed=1)
        weight, bias = layer.parameters()
        dw, db = torch.autograd.grad((lin.vjp(dy) * v).sum(), (weight, bias), materialize_grads=True)
        torch.testing.assert_close(dw.flatten(1), torch.einsum("boi,bki->ok", dy.view(5, 3, -1), patches))
        assert not db.any()


def test_max_pooling_passes_the_positions_of_the_first_pass_on():
    """Algorithm 1: "propagate the same positions as on the first pass", regardless of what value they have."""
    x, v = images(), normals(5, 2, 8, 8)
    layer = nn.Sequential(nn.MaxPool2d(3, stride=2), nn.Flatten())
    chosen = max_pool2d(x, 3, stride=2, return_indices=True)[1]
    third = linearize(layer, x, engine="autograd").jvp(v)
    torch.testing.assert_close(third, v.flatten(2).gather(2, chosen.flatten(2)).flatten(1))
    assert not torch.allclose(third, layer(v)), "v has its maxima elsewhere"


@pytest.mark.parametrize("name", SYMMETRIC)
def test_theorem_2_a_symmetric_jacobian_passes_forth_as_back(name):
    (layer, product), x, v = SYMMETRIC[name], normals(5, 6), normals(5, 6, seed=1)
    lin = linearize(layer, x, engine="autograd")
    torch.testing.assert_close(lin.jvp(v), product(layer(x), v))
    torch.testing.assert_close(lin.vjp(v), lin.jvp(v))
    square = linearize(drawn(nn.Linear(6, 6)), x, engine="autograd")
    assert not torch.allclose(square.vjp(v), square.jvp(v), rtol=0.1), "not so for any other Jacobian"


@pytest.mark.parametrize("name", ["mlp", "conv", "batch_norm"])
def test_fast_tbp_moves_the_weights_as_loss_ibp_with_the_loss_dy_t(name):
    """7.5: an additional forward pass of t, against a third pass of Loss IBP that starts from t."""
    net, of = network(name), batch()
    of = of._replace(tangents=of.tangents[:, 4:])  # one tangent
    parameters = list(net.parameters())
    lin = linearize(net.body, net.normalize(of.x), engine="autograd")
    dy = (lin.logits.softmax(1) - one_hot(of.y, N_CLASSES)).detach()
    forward_mode = lin.jvp(net.normalize.direction(of.tangents[:, 0]))  # Eq. 10: ∇_θ p, then times dy_K
    expected = torch.autograd.grad((forward_mode * dy).sum(), parameters, materialize_grads=True)
    value = penalty(make("fast_tbp", net, signed=True), of)
    torch.testing.assert_close(value, (forward_mode * dy).sum(1))
    found = torch.autograd.grad(value.sum(), parameters, materialize_grads=True)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("net", ["conv", "dropout_and_batch_norm"])
@pytest.mark.parametrize("name", IBP)
def test_strength_zero_is_standard_back_propagation_bit_for_bit(name, net):
    """3.1: "when beta = 0, the algorithm is equivalent to the standard backpropagation"."""

    def trained(method, **strength):
        module = make(method, network(net, dtype=torch.float32), **strength)
        for _ in range(4):
            steps(module, batch(dtype=torch.float32))
        return module.net.state_dict()

    strength = make(name, network(net)).method.strength
    plain, off, on = trained("none"), trained(name, **{strength: 0.0}), trained(name, **{strength: 0.1})
    assert all(torch.equal(plain[key], off[key]) for key in plain)
    assert not all(torch.equal(plain[key], on[key]) for key in plain), "and a strength does something"


class Neuron(nn.Module):
    """One neuron, x -> s = x·w + b, with logits whose softmax is (1 - p, p)."""

    def __init__(self, logits):
        super().__init__()
        self.weight = nn.Parameter(normals(6) * 0.05)  # p stays in (0, 1)
        self.logits = logits

    def forward(self, x):
        return self.logits(x.flatten(1) @ self.weight + 0.5)


def identity(s):
    """p = s, "without a non-linear transfer function" (7.4): cross-entropy is -[l ln p + (1 - l) ln(1 - p)]."""
    return torch.stack([1 - s, s], dim=1).log()


def logistic(s):
    """p = 1/(1 + e⁻ˢ)."""
    return torch.stack([torch.zeros_like(s), s], dim=1)


def neuron(logits):
    return Network(Normalize(torch.zeros(1, 1, 1), torch.ones(1, 1, 1)), Neuron(logits), 2).double()


def points():
    return Batch(normals(8, 1, 1, 6, seed=2), torch.tensor([0, 1] * 4))


def hessian_trace(net, of):
    """Tr(H) = Σᵢ ∂²L/∂xᵢ² of each sample, (B,)."""

    def loss(x, y):
        return nn.functional.cross_entropy(net(x[None]), y[None])

    hessians = torch.func.vmap(torch.func.hessian(loss))(of.x, of.y)  # (B, 1, 1, 6, 1, 1, 6)
    return hessians.view(-1, 6, 6).diagonal(dim1=1, dim2=2).sum(1)


def test_the_hessian_of_a_single_neuron_has_the_trace_of_its_squared_gradient():
    """7.4, Eqs. 17 and 18: Tr(H) = ‖∇ₓL‖² = 2 L̃₂; not so for the logistic neuron, whose Tr(H) is ‖w‖² p (1 - p)."""
    net, of = neuron(identity), points()
    squared_gradient = 2 * penalty(make("loss_ibp", net, r=2), of)
    torch.testing.assert_close(squared_gradient, hessian_trace(net, of))
    logit, w2 = neuron(logistic), neuron(logistic).body.weight.square().sum()
    p = logit(of.x).softmax(1)[:, 1]
    torch.testing.assert_close(hessian_trace(logit, of), w2 * p * (1 - p))
    # 7.3: without hidden layers the penalty is weight decay, multiplied by p - l
    torch.testing.assert_close(2 * penalty(make("loss_ibp", logit, r=2), of), w2 * (p - of.y).square())


def test_noise_injection_is_loss_ibp_for_a_single_neuron():
    """7.4: E L(x + μ), μ ~ N(0, σ² I), is Loss IBP's loss with r = 2 and beta = σ² up to O(σ⁴).

    L sees μ through w·μ ~ N(0, σ²‖w‖²) alone, so quadrature along w is the expectation, to O(σ²⁰).
    """
    net, of = neuron(identity), points()
    nodes, weights = (torch.from_numpy(v) for v in hermegauss(10))
    weights = weights / weights.sum()
    along = (net.body.weight / net.body.weight.norm()).detach().view(1, 1, 6)

    def left(sigma):
        noisy = (of.x + sigma * node * along for node in nodes)
        losses = torch.stack([nn.functional.cross_entropy(net(x), of.y) for x in noisy])
        return (weights @ losses - make("loss_ibp", net, r=2, beta=sigma**2).terms(of, {}).loss).item()

    assert left(0.04) / left(0.02) == pytest.approx(16, rel=0.02)
