"""The autograd engine against Jacobians computed without it, sample by sample, from the definition."""

import copy

import pytest
import torch
from torch import nn

from jacexp.jacobian import exact_jacobian, linearize
from tests.networks import BODIES, N_CLASSES, body, images, normals

DETERMINISTIC = [name for name in BODIES if "dropout" not in name]


def frozen_copy(net: nn.Module, x: torch.Tensor) -> nn.Module:
    """Build the pseudo-inference network by hand: eval mode, with this batch's mean and biased variance."""
    frozen = copy.deepcopy(net)
    norms = [m for m in frozen.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    for norm in norms:

        def set_statistics(m, args):
            m.running_mean.copy_(args[0].transpose(0, 1).flatten(1).mean(1))
            m.running_var.copy_(args[0].transpose(0, 1).flatten(1).var(1, unbiased=False))

        norm.register_forward_pre_hook(set_statistics)
    frozen.eval()
    with torch.no_grad():
        frozen(x)
    for norm in norms:
        norm._forward_pre_hooks.clear()
    return frozen


def reference_jacobian(net: nn.Module, x: torch.Tensor) -> torch.Tensor:
    frozen = frozen_copy(net, x)
    rows = [torch.autograd.functional.jacobian(lambda s: frozen(s[None])[0], sample) for sample in x]
    return torch.stack(rows)


@pytest.mark.parametrize("name", DETERMINISTIC)
def test_both_products_are_those_of_the_exact_jacobian(name):
    net, x = body(name), images()
    jacobian = reference_jacobian(net, x).flatten(2)
    lin = linearize(net, x, engine="autograd")
    v, u = normals(*x.shape), normals(len(x), N_CLASSES)
    torch.testing.assert_close(lin.jvp(v), torch.einsum("bci,bi->bc", jacobian, v.flatten(1)))
    torch.testing.assert_close(lin.vjp(u).flatten(1), torch.einsum("bci,bc->bi", jacobian, u))
    torch.testing.assert_close(exact_jacobian(net, x, engine="autograd").flatten(2), jacobian)


@pytest.mark.parametrize("name", DETERMINISTIC)
def test_logits_are_those_of_an_ordinary_call_in_train_mode(name):
    net, x = body(name), images()
    exact = (
        {"rtol": 1e-14, "atol": 1e-14} if name == "attention" else {"rtol": 0, "atol": 0}
    )  # another kernel
    torch.testing.assert_close(linearize(net, x, engine="autograd").logits, copy.deepcopy(net)(x), **exact)


@pytest.mark.parametrize("name", ["batch_norm", "residual", "dropout_and_batch_norm"])
def test_running_statistics_move_once_and_nothing_is_left_behind(name):
    net, x = body(name), images()
    once = copy.deepcopy(net)
    torch.manual_seed(0)
    once(x)
    torch.manual_seed(0)
    lin = linearize(net, x, engine="autograd")
    lin.jvp(torch.ones_like(x)).sum().backward()
    lin.vjp(torch.ones_like(lin.logits))
    for (key, moved), expected in zip(net.state_dict().items(), once.state_dict().values(), strict=True):
        assert torch.equal(moved, expected), key
    assert all(m.training for m in net.modules())
    assert not any("forward" in vars(m) or m._forward_pre_hooks for m in net.modules())


def test_batch_norm_s_epsilon_and_missing_running_statistics_are_seen():
    net, x = body("batch_norm"), images()
    net[1].eps = 0.5
    jacobian = reference_jacobian(net, x)
    torch.testing.assert_close(exact_jacobian(net, x, engine="autograd"), jacobian)
    net[1].track_running_stats, net[1].running_mean, net[1].running_var = False, None, None
    torch.testing.assert_close(exact_jacobian(net.eval(), x, engine="autograd"), jacobian)


def test_batch_norm_in_train_mode_is_an_example_in_which_a_sample_could_leak_into_another_s_jacobian():
    leaky = torch.autograd.functional.jacobian(body("batch_norm"), images())
    assert leaky[0, :, 1].abs().max() > 1e-3


@pytest.mark.parametrize("engine", ["autograd", "passes"])
def test_batch_norm_is_frozen_under_autocast_too(engine):
    whole, x = body("batch_norm").float(), images().float()
    net = nn.Sequential(*(layer for layer in whole if not isinstance(layer, nn.ReLU)))  # no kink to cross
    v = normals(*x.shape).float()
    exact = linearize(copy.deepcopy(net), x, engine=engine).jvp(v)
    with torch.autocast("cpu", torch.bfloat16):
        product = linearize(net, x, engine=engine).jvp(v)
    product.float().sum().backward()
    # bfloat16 has 8 bits: some parts in 256 of the largest entry, in each of three layers
    assert (product - exact).abs().max() < 0.05 * exact.abs().max()


@pytest.mark.parametrize("name", ["dropout", "dropout_and_batch_norm"])
def test_products_share_the_dropout_mask_of_the_forward_pass(name):
    net, x = body(name), images()
    torch.manual_seed(3)
    lin = linearize(net, x, engine="autograd")
    after = torch.get_rng_state()
    v, u = normals(*x.shape), normals(len(x), N_CLASSES)
    torch.testing.assert_close((lin.jvp(v) * u).sum(), (v * lin.vjp(u)).sum())

    hidden = {}
    last = list(net.children())[-1]
    last.register_forward_pre_hook(lambda m, args: hidden.update(kept=(args[0] != 0)))
    torch.manual_seed(3)
    copy_of_net = net(x)
    torch.testing.assert_close(copy_of_net, lin.logits)
    assert torch.equal(torch.get_rng_state(), after), "the generator stands where one forward pass leaves it"
    # A row of J is a sum over the hidden units that were kept, so none of those dropped may contribute to J v.
    step = 1e-6
    shifted = frozen_with_masks(net, x, hidden["kept"])
    finite = (shifted(x + step * v) - shifted(x - step * v)) / (2 * step)
    torch.testing.assert_close(lin.jvp(v), finite, rtol=1e-6, atol=1e-7)


def frozen_with_masks(net, x, kept):
    """The network with batch statistics frozen and dropout replaced by the given mask times 1/(1 - p)."""
    frozen = frozen_copy(net, x)
    layers = list(frozen.children())

    def forward(z):
        for layer in layers:
            z = z * kept * 2 if isinstance(layer, nn.Dropout) else layer(z)
        return z

    return forward


@pytest.mark.parametrize("name", ["mlp", "conv", "attention"])
def test_products_are_differentiable_in_the_parameters(name):
    net, x = body(name), images(2)
    v, u = normals(*x.shape), normals(2, N_CLASSES)
    names = [n for n, _ in net.named_parameters()]

    def products(*parameters):
        swapped = torch.func.functional_call
        lin = linearize(_Bound(net, swapped, dict(zip(names, parameters, strict=True))), x, engine="autograd")
        return lin.jvp(v), lin.vjp(u), lin.logits

    assert torch.autograd.gradcheck(products, tuple(net.parameters()), fast_mode=True)


class _Bound(nn.Module):
    def __init__(self, net, call, parameters):
        super().__init__()
        self.run = lambda x: call(net, parameters, (x,))

    def forward(self, x):
        return self.run(x)


@pytest.mark.parametrize("name", ["mlp", "conv", "batch_norm"])
def test_safe_under_vmap_over_stacked_parameters(name):
    nets = [body(name, seed) for seed in range(3)]
    xs = torch.stack([images(5, seed) for seed in range(3)])
    v, u = normals(5, 2, 8, 8), normals(5, N_CLASSES)

    def products(net, x):
        lin = linearize(net, x, engine="autograd")
        return lin.logits, lin.jvp(v), lin.vjp(u)

    class Products(nn.Module):
        def __init__(self, net):
            super().__init__()
            self.net = net

        def forward(self, x):
            return products(self.net, x)

    parameters, buffers = torch.func.stack_module_state([Products(n) for n in copy.deepcopy(nets)])
    skeleton = Products(copy.deepcopy(nets[0]))
    stacked = torch.func.vmap(lambda p, b, x: torch.func.functional_call(skeleton, (p, b), (x,)))
    together = stacked(parameters, buffers, xs)
    for i, net in enumerate(nets):
        for one, all_of_them in zip(products(net, xs[i]), together, strict=True):
            torch.testing.assert_close(one, all_of_them[i])
    together[2].square().sum().backward()
    alone = products(nets[1], xs[1])[2].square().sum()
    expected = torch.autograd.grad(alone, list(nets[1].parameters()), allow_unused=True)
    for (key, stack), grad in zip(parameters.items(), expected, strict=True):
        if grad is not None:
            torch.testing.assert_close(stack.grad[1], grad, msg=key)


@pytest.mark.parametrize(
    "norm",
    [
        nn.LayerNorm(6),
        nn.LayerNorm((6, 5), elementwise_affine=False),
        nn.GroupNorm(2, 6),
        nn.RMSNorm(5),
        nn.InstanceNorm1d(6, affine=True),
        nn.InstanceNorm1d(6, track_running_stats=True),
    ],
    ids=str,
)
def test_the_jacobian_of_a_normalisation_has_the_gradient_of_its_values(norm):
    """PyTorch's own layer and instance norm have a wrong third derivative, which J v would be differentiated by."""
    shape = (6,) if norm.__dict__.get("normalized_shape") == (6,) else (6, 5)
    net = nn.Sequential(nn.Unflatten(1, shape), norm, nn.Flatten()).double()
    size = torch.Size(shape).numel()
    x, v = normals(3, size), normals(3, size, seed=1)
    torch.testing.assert_close(linearize(net, x, engine="autograd").logits, net(x))

    def product(x):
        return linearize(net, x, engine="autograd").jvp(v)

    assert torch.autograd.gradcheck(product, (x.requires_grad_(),), fast_mode=True)


def test_running_statistics_of_an_instance_norm_move_once_a_linearisation():
    norm = nn.InstanceNorm1d(6, track_running_stats=True).double()
    net, alone = nn.Sequential(norm, nn.Flatten()), copy.deepcopy(norm)
    x = normals(3, 6, 5)
    linearize(net, x, engine="autograd")
    alone(x)
    torch.testing.assert_close(norm.running_mean, alone.running_mean)
    torch.testing.assert_close(norm.running_var, alone.running_var)
