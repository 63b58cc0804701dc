"""Each layer's rule: F is the derivative of the layer, Fᵀ its transpose, and the weight gradient that of ⟨u, F v⟩."""

import pytest
import torch
from torch import nn

from jacexp.errors import NoRuleError
from jacexp.jacobian.passes import PassesLinearization
from jacexp.jacobian.rules.base import RULES, Rule, register_rule
from jacexp.jacobian.rules.pointwise import Add, Concatenate

LAYERS = {
    "linear": (nn.Linear(7, 3), (7,)),
    "linear-no-bias": (nn.Linear(7, 3, bias=False), (7,)),
    "conv": (nn.Conv2d(3, 5, 3, padding=1), (3, 8, 7)),
    "conv-1": (nn.Conv2d(1, 4, 4), (1, 9, 10)),
    "conv-pad": (nn.Conv2d(2, 3, (5, 4), padding=(3, 0)), (2, 7, 8)),
    "conv-pad-wide": (nn.Conv2d(1, 2, 2, padding=3), (1, 5, 5)),
    "conv-same": (nn.Conv2d(2, 3, 5, padding="same"), (2, 7, 8)),
    "conv-stride": (nn.Conv2d(2, 3, (3, 2), stride=(2, 3), padding=(1, 0)), (2, 8, 9)),
    "conv-dilated": (nn.Conv2d(3, 4, 3, dilation=2, bias=False), (3, 8, 8)),
    "conv-groups": (nn.Conv2d(4, 6, 3, groups=2, stride=2), (4, 8, 8)),
    "relu": (nn.ReLU(), (3, 4)),
    "leaky": (nn.LeakyReLU(0.3), (3, 4)),
    "max-2": (nn.MaxPool2d(2), (3, 7, 8)),
    "max-overlap": (nn.MaxPool2d(3, 2, padding=1), (3, 8, 7)),
    "max-ceil": (nn.MaxPool2d((3, 2), (2, 1), ceil_mode=True, dilation=(1, 2)), (2, 8, 8)),
    "max-adaptive": (nn.AdaptiveMaxPool2d((3, 5)), (2, 7, 8)),
    "avg": (nn.AvgPool2d(3, 2, padding=1, ceil_mode=True, count_include_pad=False), (2, 8, 8)),
    "avg-divisor": (nn.AvgPool2d((2, 3), divisor_override=5), (2, 8, 9)),
    "avg-adaptive": (nn.AdaptiveAvgPool2d((3, None)), (2, 7, 8)),
    "avg-global": (nn.AdaptiveAvgPool2d(1), (2, 7, 8)),
    "bn-1d": (nn.BatchNorm1d(4), (4,)),
    "bn-2d": (nn.BatchNorm2d(3, eps=0.1), (3, 4, 5)),
    "bn-plain": (nn.BatchNorm2d(3, affine=False, track_running_stats=False), (3, 4, 5)),
    "dropout": (nn.Dropout(0.4), (3, 4, 5)),
    "dropout-2d": (nn.Dropout2d(0.4), (3, 4, 5)),
    "identity": (nn.Identity(), (4,)),
    "flatten": (nn.Flatten(), (3, 4, 5)),
    "flatten-some": (nn.Flatten(2), (3, 4, 5)),
    "pad-constant": (nn.ConstantPad2d((1, 2, 0, 3), 5.0), (2, 3, 4)),
    "pad-zero": (nn.ZeroPad2d(1), (2, 3, 4)),
    "crop": (nn.ZeroPad2d(-1), (2, 5, 4)),
}
FORMATS = {"contiguous": torch.contiguous_format, "channels-last": torch.channels_last}
B = 4


def bound(name, train=True):
    """A layer in float64, its rule after a forward pass, and two vectors a sample on either side."""
    layer, shape = LAYERS[name]
    layer = layer.double().train(train)
    g = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for p in layer.parameters():
            p.normal_(generator=g)
    x = torch.randn(B, *shape, generator=g, dtype=torch.float64)
    rule = RULES[type(layer)](layer)
    y = rule.forward(x)
    v = torch.randn(2 * B, *shape, generator=g, dtype=torch.float64)
    u = torch.randn(2 * B, *y.shape[1:], generator=g, dtype=torch.float64)
    return layer, rule, x, y, v, u


@pytest.mark.parametrize("name", LAYERS)
def test_transpose_is_the_adjoint(name):
    _, rule, *_, v, u = bound(name)
    assert torch.allclose((rule.tangent(v) * u).sum(), (v * rule.transpose(u)).sum(), rtol=1e-12)


@pytest.mark.parametrize("name", LAYERS)
def test_tangent_is_the_derivative_of_the_forward_pass(name):
    layer, rule, x, y, v, _ = bound(name)

    def forward(x):
        if isinstance(layer, nn.Dropout | nn.Dropout2d):
            return rule.tangent(x)  # the mask is drawn once: nothing but the rule has it
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            dims = [d for d in range(x.ndim) if d != 1]
            mean, var = x.mean(dims, keepdim=True).detach(), x.var(dims, correction=0, keepdim=True).detach()
            affine = (
                [1, 0]
                if layer.weight is None
                else [p.view(-1, *[1] * (x.ndim - 2)) for p in layer.parameters()]
            )
            return (x - mean) / (var + layer.eps).sqrt() * affine[0] + affine[1]
        return layer(x)

    expected_y, expected = torch.func.jvp(forward, (x,), (v[:B],))
    assert torch.allclose(y, expected_y, rtol=1e-12, atol=1e-14)
    assert torch.allclose(rule.tangent(v)[:B], expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", [n for n, (layer, _) in LAYERS.items() if [*layer.parameters()]])
@pytest.mark.parametrize("train", [True, False], ids=["train", "eval"])
def test_weight_gradients(name, train):
    layer, rule, x, y, v, u = bound(name, train)
    dy = torch.randn_like(y)
    gradients = rule.gradients(x, [v], [torch.cat([dy, u])], 0.5)
    parameters = [p for p in rule.parameters if p is not None]
    expected = torch.autograd.grad(((layer(x) * dy).sum() + (rule.tangent(v) * u).sum()) / 2, parameters)
    for a, b in zip([g for g in gradients if g is not None], expected, strict=True):
        assert torch.allclose(a, b, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", [n for n, (layer, _) in LAYERS.items() if [*layer.parameters()]])
def test_shared_weight_gradient(name):
    _, rule, x, y, v, _ = bound(name, train=False)
    dy = torch.randn_like(y)
    gradients = rule.gradients(x, [v[:B]], [dy], shared=True)
    apart = rule.gradients(x, [v[:B]], [torch.cat([dy, dy])])
    for a, b in zip(gradients, apart, strict=True):
        assert (a is None and b is None) or torch.allclose(a, b, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("name", [n for n, (_, shape) in LAYERS.items() if len(shape) == 3])
def test_channels_last_changes_nothing(name):
    layer, rule, x, y, v, u = bound(name)
    if isinstance(layer, nn.Dropout | nn.Dropout2d):
        return  # another layout draws another mask
    other = RULES[type(layer)](layer)
    assert torch.allclose(y, other.forward(x.to(memory_format=torch.channels_last)), rtol=1e-12)
    assert torch.allclose(rule.tangent(v), other.tangent(v.to(memory_format=torch.channels_last)), rtol=1e-12)
    u_last = u.to(memory_format=torch.channels_last) if u.ndim == 4 else u
    assert torch.allclose(rule.transpose(u), other.transpose(u_last), rtol=1e-12)


def test_sum_and_concatenation():
    x = torch.randn(2, 2, 3)
    add, cat = RULES[Add](Add()), RULES[Concatenate](Concatenate(1))
    assert torch.equal(add.forward(*x), x[0] + x[1])
    assert torch.equal(cat.forward(*x), torch.cat([*x], 1))
    u = torch.randn(2, 6)
    parts = cat.transpose(u)
    assert torch.equal(torch.cat(parts, 1), u)
    assert [p.shape for p in parts] == [(2, 3), (2, 3)]


def test_overlapping_windows_add_up():
    # One large pixel is the maximum of all four windows.
    x = torch.zeros(1, 1, 5, 5)
    x[0, 0, 2, 2] = 1
    rule = RULES[nn.MaxPool2d](nn.MaxPool2d(3, 2))
    rule.forward(x)
    assert torch.equal(rule.transpose(torch.ones(1, 1, 2, 2)), 4 * x)


def test_a_rule_of_ones_own():
    class Double(nn.Module):
        def forward(self, x):
            return 2 * x

    net = nn.Sequential(nn.Linear(3, 2), Double())
    x = torch.randn(4, 3)
    with pytest.raises(NoRuleError, match=r"mul.*register_function"):
        PassesLinearization(net, x)

    @register_rule(Double)
    class DoubleRule(Rule):
        def forward(self, x):
            return 2 * x

        tangent = transpose = forward

    try:
        assert torch.equal(
            PassesLinearization(net, x).vjp(torch.eye(2)[:1].expand(4, 2))[0], 2 * net[0].weight[0]
        )
    finally:
        del RULES[Double]


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (nn.Conv2d(1, 1, 3, padding=1, padding_mode="circular"), "zero padding"),
        (nn.Conv2d(1, 1, 4, padding="same"), "same on both sides"),
        (nn.MaxPool2d(2, return_indices=True), "indices"),
        (nn.AdaptiveMaxPool2d(2, return_indices=True), "indices"),
        (nn.Flatten(0), "joins the samples"),
    ],
)
def test_layers_beyond_the_rules(layer, message):
    with pytest.raises(NoRuleError, match=message):
        RULES[type(layer)](layer)
