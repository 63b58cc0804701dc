"""Networks, batches and vectors that have no Jacobian are refused, with what to do instead."""

import pytest
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from jacexp.errors import ConfigError
from jacexp.jacobian import exact_jacobian, frobenius_norm, linearize, spectral_norm
from tests.networks import body, images


def test_wrong_use_is_refused():
    with pytest.raises(ConfigError, match="choose auto, autograd or passes"):
        linearize(body("mlp"), images(), engine="fast")
    with pytest.raises(ConfigError, match=r"Jacobians need \(B, \*in\) -> \(B, C\)"):
        linearize(nn.Conv2d(2, 3, 3).double(), images(), engine="autograd")
    shared = nn.BatchNorm2d(2).double()
    with pytest.raises(ConfigError, match="used twice"):
        linearize(nn.Sequential(shared, shared, nn.Flatten()), images(), engine="autograd")


class Wrapped(nn.Module):
    """A network that packs its logits up."""

    def __init__(self, pack):
        super().__init__()
        self.net, self.pack = body("mlp"), pack

    def forward(self, x):
        return self.pack(self.net(x))


@pytest.mark.parametrize(
    ("pack", "kind"),
    [
        (lambda z: (z, z), "tuple"),
        (lambda z: [z], "list"),
        (lambda z: {"logits": z}, "dict"),
        (lambda z: None, "NoneType"),
    ],
)
@pytest.mark.parametrize("compute", [linearize, spectral_norm, frobenius_norm, exact_jacobian])
def test_a_network_must_return_one_tensor(compute, pack, kind):
    with pytest.raises(ConfigError, match=f"returns a {kind}; Jacobians need one tensor of logits"):
        compute(Wrapped(pack), images())


@pytest.mark.parametrize("engine", ["autograd", "passes"])
@pytest.mark.parametrize(
    ("x", "says"),
    [
        (images().numpy(), "x is a ndarray, not a tensor"),
        ([[0.0, 1.0]], "x is a list, not a tensor"),
        ((255 * images()).to(torch.uint8), "x is torch.uint8: derivatives need floating-point"),
        (images()[0, 0, 0], r"it needs \(B, \*in\)"),
        ((255 * images()).long(), "x is torch.int64"),
    ],
    ids=["numpy", "list", "bytes", "one sample", "integers"],
)
def test_the_input_must_be_a_tensor_of_floats(engine, x, says):
    for compute in (linearize, spectral_norm, frobenius_norm, exact_jacobian):
        with pytest.raises(ConfigError, match=says):
            compute(body("mlp"), x, engine=engine)


@pytest.mark.parametrize("engine", ["autograd", "passes"])
def test_vectors_must_fit(engine):
    net, x = body("mlp"), images(4)
    lin = linearize(net, x, engine=engine)
    v, u = torch.ones_like(x), torch.ones_like(lin.logits)
    wrong = {
        r"v has shape \(3, 2, 8, 8\); it needs \(4, 2, 8, 8\)": lambda: lin.jvp(v[:3]),
        r"v has shape \(4, 128\)": lambda: lin.jvp(v.flatten(1)),
        r"v has shape \(\)": lambda: lin.jvp(v.sum()),
        r"v has shape \(0, 2, 8, 8\)": lambda: lin.jvp(v[:0]),
        r"v is torch.float32; it needs torch.float64": lambda: lin.jvp(v.float()),
        r"v is torch.int64; it needs": lambda: lin.jvp(v.long()),
        r"v is on meta and the network's on cpu": lambda: lin.jvp(v.to("meta")),
        r"v is a ndarray, not a tensor": lambda: lin.jvp(v.numpy()),
        r"u has shape \(4, 3\); it needs \(4, 4\)": lambda: lin.vjp(u[:, :3]),
        r"u has shape \(5, 4\)": lambda: lin.vjp(torch.cat([u, u[:1]])),
        r"u is torch.float32; it needs torch.float64": lambda: lin.vjp(u.float()),
        r"u is on meta": lambda: lin.vjp(u.to("meta")),
        r"u is a list": lambda: lin.vjp([1.0]),
    }
    for says, product in wrong.items():
        with pytest.raises(ConfigError, match=says):
            product()


class Layer(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


class Square(torch.autograd.Function):
    """A function of one's own, differentiable once."""

    @staticmethod
    def forward(x):
        return x.square()

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, g):
        return 2 * g * ctx.saved_tensors[0]


class OldSquare(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.square()


def fused_attention(x):
    with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
        tokens = x[:, None, None]
        return nn.functional.scaled_dot_product_attention(tokens, tokens, tokens)[:, 0, 0]


@pytest.mark.parametrize("product", ["jvp", "vjp"])
@pytest.mark.parametrize(
    ("function", "says"),
    [
        (Square.apply, "once_differentiable; write it with operations"),
        (OldSquare.apply, "setup_context"),
        (fused_attention, r"flash_attention.*run its attention under sdpa_kernel\(SDPBackend.MATH\)"),
        (lambda x: x * torch.from_numpy(x.detach().numpy()), "storage; write it with operations"),
    ],
    ids=["once", "old", "attention", "numpy"],
)
def test_a_layer_without_a_second_derivative_is_named_before_anything_is_trained(function, says, product):
    net = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), Layer(function), nn.Linear(8, 4))
    with pytest.raises(ConfigError, match=rf"the Jacobian of Layer \(2\) cannot be trained through.*{says}"):
        getattr(linearize(net, torch.rand(3, 6)), product)(torch.rand(3, 6 if product == "jvp" else 4))


def test_a_frozen_network_may_lack_second_derivatives():
    net = nn.Sequential(nn.Linear(6, 8), Layer(Square.apply), nn.Linear(8, 4)).requires_grad_(False)
    x, u = torch.rand(3, 6), torch.rand(3, 4)
    product = (u @ net[2].weight * 2 * net[0](x)) @ net[0].weight
    torch.testing.assert_close(linearize(net, x).vjp(u), product)
