"""The passes engine's linearisation: its products and their gradients equal double back-propagation."""

import copy

import pytest
import torch
import torchvision
from torch import nn
from torch.func import functional_call, grad, stack_module_state, vmap

from jacexp.errors import NoRuleError
from jacexp.jacobian.graph import program_of
from jacexp.jacobian.passes import PassesLinearization
from tests.jacobian.reference import DoubleBackward
from tests.networks import N_CLASSES, WITH_RULES, body, images, normals

X = images() - 0.4
V, U = normals(*X.shape), normals(len(X), N_CLASSES, seed=1)


def loss_of(lin):
    """A function of all three, in which every product matters."""
    return lin.logits.logsumexp(1).sum() + lin.jvp(V).square().sum() + lin.vjp(U).abs().sum()


@pytest.mark.parametrize("train", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("network", WITH_RULES)
def test_products_and_gradients(network, train):
    net = body(network).train(train)
    other = copy.deepcopy(net)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        lin = PassesLinearization(net, X)
        expected = DoubleBackward(other, X)
    for a, b in ((lin.logits, expected.logits), (lin.jvp(V), expected.jvp(V)), (lin.vjp(U), expected.vjp(U))):
        assert torch.allclose(a, b, rtol=1e-10, atol=1e-12)
    gradients = torch.autograd.grad(loss_of(lin), [*net.parameters()])
    for a, b in zip(gradients, torch.autograd.grad(loss_of(expected), [*other.parameters()]), strict=True):
        assert (a - b).norm() <= 1e-10 * max(float(b.norm()), 1e-3)
    for a, b in zip(net.buffers(), other.buffers(), strict=True):
        assert torch.allclose(a, b, rtol=1e-10)


@pytest.mark.parametrize("network", WITH_RULES)
def test_gradcheck(network):
    net = body(network).eval()
    net(X)
    names, values = zip(*net.named_parameters(), strict=True)
    # Small inputs of the same pattern: a step of gradcheck crosses no kink.
    x, v = X[:2], V[:2]

    def products(v, *values):
        lin = functional_call(
            Linearized(net), {f"net.{n}": p for n, p in zip(names, values, strict=True)}, (x,)
        )
        return lin.jvp(v), lin.vjp(U[:2])

    inputs = [t.detach().clone().requires_grad_() for t in (v, *values)]
    assert torch.autograd.gradcheck(products, inputs, fast_mode=True)


class Linearized(nn.Module):
    """A network whose forward gives its linearisation, for functional_call."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        return PassesLinearization(self.net, x)


@pytest.mark.parametrize("network", WITH_RULES)
def test_vmap_over_stacked_networks(network):
    nets = [body(network, seed).eval() for seed in range(3)]
    parameters, buffers = stack_module_state(nets)
    template = Linearized(copy.deepcopy(nets[0]).to("meta"))

    def loss(parameters, buffers):
        state = {f"net.{n}": t for n, t in (parameters | buffers).items()}
        return loss_of(functional_call(template, state, (X,)))

    stacked = vmap(grad(loss))(parameters, buffers)
    for i, net in enumerate(nets):
        alone = torch.autograd.grad(loss_of(PassesLinearization(net, X)), [*net.parameters()])
        for (name, _), b in zip(net.named_parameters(), alone, strict=True):
            assert torch.allclose(stacked[name][i], b, rtol=1e-10, atol=1e-11), name


@pytest.mark.parametrize("make", [torchvision.models.resnet18, torchvision.models.vgg11_bn])
def test_walks_over_torchvision(make):
    net = make(num_classes=N_CLASSES).double().eval()
    x = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    v, u = torch.randn_like(x), U[:2]
    lin, expected = PassesLinearization(net, x), DoubleBackward(net, x)
    assert torch.allclose(lin.jvp(v), expected.jvp(v), rtol=1e-9, atol=1e-12)
    assert torch.allclose(lin.vjp(u), expected.vjp(u), rtol=1e-9, atol=1e-12)


def test_several_vectors_a_sample():
    net = body("overlapping")
    lin = PassesLinearization(net, X)
    assert torch.allclose(lin.jvp(torch.cat([V, 2 * X])), torch.cat([lin.jvp(V), lin.jvp(2 * X)]), rtol=1e-12)
    assert torch.allclose(lin.vjp(torch.cat([U, 2 * U])), torch.cat([lin.vjp(U), lin.vjp(2 * U)]), rtol=1e-12)


def test_functions_in_place_of_modules():
    class Functions(nn.Module):
        def forward(self, x):
            F = nn.functional
            x = F.pad(F.relu(F.max_pool2d(x, 2)), (1, 0, 1, 0))
            x = F.leaky_relu(F.avg_pool2d(x, 2, stride=1), 0.2).add(F.adaptive_max_pool2d(x, (4, 4)))
            x = F.dropout(x, 0.5, training=self.training)
            return torch.flatten(x, 1)[:, :] if x is None else x.reshape(x.shape[0], -1)

    net = Functions().eval()
    lin, expected = PassesLinearization(net, X), DoubleBackward(net, X)
    assert torch.equal(lin.logits, expected.logits)
    assert torch.allclose(lin.vjp(lin.logits), expected.vjp(lin.logits), rtol=1e-12)


def test_program_is_kept_until_the_network_changes():
    net = body("vgg")
    program = program_of(net)
    assert program_of(net) is program
    assert program_of(net.eval()) is not program
    net.append(nn.ReLU())
    assert len(program_of(net).steps) == len(program.steps) + 1


def test_products_outlive_a_functional_call():
    net = body("lenet")
    doubled = {f"net.{n}": 2 * p for n, p in net.named_parameters()}
    lin = functional_call(Linearized(net), doubled, (X,))
    with torch.no_grad():
        for p in net.parameters():
            p.mul_(2)
    assert torch.equal(lin.vjp(U), PassesLinearization(net, X).vjp(U))


class InPlace(nn.Module):
    def __init__(self):
        super().__init__()
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        return self.relu(x) + x


class Branching(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x


class Scaled(nn.Linear):
    def forward(self, x):
        return super().forward(x) * 3


def hooked():
    net = nn.Sequential(nn.Linear(3, 2))
    net[0].register_forward_hook(lambda m, args, y: 2 * y)
    return net


@pytest.mark.parametrize(
    ("net", "message"),
    [
        (nn.Sequential(nn.Linear(3, 2), nn.Sigmoid()), r"Sigmoid.*\(1\)"),
        (nn.Sequential(Scaled(3, 2)), "register_function"),
        (InPlace(), "in place"),
        (Branching(), "torch.fx cannot follow Branching"),
        (hooked(), "forward hooks"),
        (nn.utils.parametrizations.weight_norm(nn.Linear(3, 2)), "no rule"),
    ],
    ids=["module", "subclass", "in-place", "control-flow", "hooks", "parametrized"],
)
def test_networks_without_rules(net, message):
    with pytest.raises(NoRuleError, match=message):
        PassesLinearization(net, torch.randn(4, 3))


def test_output_must_be_logits():
    with pytest.raises(Exception, match=r"need \(B, \*in\) -> \(B, C\)"):
        PassesLinearization(nn.ReLU(), torch.randn(2, 3, 4))
