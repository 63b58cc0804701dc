"""Adversarial training against images that are moved by hand."""

import copy

import pytest
import torch
from torch.nn.functional import cross_entropy, one_hot

from jacexp.jacobian import exact_jacobian
from tests.laws import batch, make, rows
from tests.networks import N_CLASSES, network


def adversarial(net, of, epsilon):
    """x* = x + epsilon sign(∇ₓL), Eq. 4, in pixels, by each sample's own Jacobian; leaves the network as it was."""
    net = copy.deepcopy(net)
    jacobian = exact_jacobian(net.body, net.normalize(of.x), engine="autograd")
    gradient = torch.einsum("bcijk,bc->bijk", jacobian, net(of.x).softmax(1) - one_hot(of.y, N_CLASSES))
    return (of.x + epsilon * gradient.sign()).detach()


def losses(net, x, y):
    """CE of each sample, from a copy whose running statistics may move."""
    return cross_entropy(copy.deepcopy(net)(x), y, reduction="none")


@pytest.mark.parametrize("name", ["mlp", "conv", "batch_norm", "residual"])
def test_the_loss_is_half_of_both_cross_entropies(name):
    """Eq. 5, for x* in pixel units (the normalisation divides by 0.5 and 0.25) with the label of x."""
    net, of = network(name), batch()
    clean, moved = (losses(net, x, of.y) for x in (of.x, adversarial(net, of, 0.03)))
    terms = make("at", net, epsilon=0.03).terms(of, {})
    torch.testing.assert_close(terms.cross_entropy, clean)
    torch.testing.assert_close(terms.penalty, moved)
    torch.testing.assert_close(terms.loss, (clean.mean() + moved.mean()) / 2)
    assert (moved - clean).abs().min() > 1e-3, "the step must matter here"


@pytest.mark.parametrize("name", ["conv", "attention"])
def test_its_gradient_is_that_of_both_losses_with_x_star_constant(name):
    net, of = network(name), batch()
    x_star = adversarial(net, of, 0.1)
    parameters = list(net.parameters())
    both = (cross_entropy(net(of.x), of.y) + cross_entropy(net(x_star), of.y)) / 2
    expected = torch.autograd.grad(both, parameters)
    found = torch.autograd.grad(make("at", net, epsilon=0.1).terms(of, {}).loss, parameters)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("name", ["at", "fast_at"])
def test_x_star_brings_no_graph_along(name):
    """The sign has no derivative, so a graph behind it would change nothing but the cost."""
    net, tracked = network("conv"), []
    net.register_forward_pre_hook(lambda module, args: tracked.append(args[0].requires_grad))
    make(name, net, epsilon=0.1).terms(batch(), {})
    assert tracked == [False]


def test_x_star_leaves_the_range_of_pixels_unless_it_is_clipped():
    net, of = network("conv"), batch()
    x_star = adversarial(net, of, 0.3)
    assert x_star.min() < 0
    assert x_star.max() > 1
    free, clipped = (
        make("at", net, epsilon=0.3, **clip).terms(of, {}).penalty for clip in ({}, {"clip": True})
    )
    torch.testing.assert_close(free, losses(net, x_star, of.y))
    torch.testing.assert_close(clipped, losses(net, x_star.clamp(0, 1), of.y))
    assert (free - clipped).abs().min() > 1e-3


@pytest.mark.parametrize("name", ["batch_norm", "residual"])
def test_running_statistics_move_once_by_the_clean_images(name):
    net, of = network(name), batch()
    expected = copy.deepcopy(net)
    expected(of.x)
    make("at", net, epsilon=0.1).terms(of, {}).loss.backward()
    for (key, value), other in zip(net.named_buffers(), expected.buffers(), strict=True):
        assert torch.equal(value, other), key
    assert all(m.track_running_stats for m in net.modules() if isinstance(m, torch.nn.BatchNorm2d))


def test_no_sample_moves_another_through_batch_norm():
    """The gradient of the train-mode loss leaks through the batch's statistics; x* must not follow it."""
    net, of = network("batch_norm"), batch()
    x = of.x.clone().requires_grad_()
    (leaky,) = torch.autograd.grad(cross_entropy(copy.deepcopy(net)(x), of.y), x)
    x_star = adversarial(net, of, 0.1)
    expected, leaked = (losses(net, x, of.y) for x in (x_star, of.x + 0.1 * leaky.sign()))
    torch.testing.assert_close(make("at", net, epsilon=0.1).terms(of, {}).penalty, expected)
    assert (leaked - expected).abs().min() > 1e-4, "an example where it would leak"


def test_x_star_is_the_same_in_any_company():
    net = network("conv")
    of = batch()
    together = make("at", net, epsilon=0.1).terms(of, {})
    for b in range(5):
        alone = make("at", net, epsilon=0.1).terms(rows(of, slice(b, b + 1)), {})
        torch.testing.assert_close(alone.penalty[0], together.penalty[b])


def test_the_loss_at_x_star_is_loss_ibp_to_first_order():
    """Eq. 11: L(x*) - L(x) - epsilon ‖∇ₓL‖₁ = O(epsilon²), so that half the step leaves a quarter."""
    net, of = network("attention"), batch()  # smooth, unlike ReLU
    x = of.x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(cross_entropy(net(x), of.y, reduction="sum"), x)
    slope = gradient.abs().flatten(1).sum(1)

    def left(epsilon):
        terms = make("at", net, epsilon=epsilon).terms(of, {})
        return (terms.penalty - terms.cross_entropy - epsilon * slope).detach()

    assert (left(1e-4) / left(5e-5)).tolist() == pytest.approx([4] * 5, rel=0.02)
