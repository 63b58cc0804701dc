"""Fast adversarial training against images that are moved by hand, and against adversarial training."""

import copy

import pytest
import torch
from torch.nn.functional import cross_entropy, one_hot

from jacexp.jacobian import exact_jacobian
from tests.laws import batch, make
from tests.networks import N_CLASSES, network


def adversarial(net, of, epsilon):
    """x* = x + epsilon sign(∇ₓL), Eq. 4, in pixels, by each sample's own Jacobian; leaves the network as it was."""
    net = copy.deepcopy(net)
    jacobian = exact_jacobian(net.body, net.normalize(of.x), engine="autograd")
    gradient = torch.einsum("bcijk,bc->bijk", jacobian, net(of.x).softmax(1) - one_hot(of.y, N_CLASSES))
    return (of.x + epsilon * gradient.sign()).detach()


@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize("name", ["mlp", "conv", "batch_norm", "residual"])
def test_the_loss_is_that_of_x_star_alone(name, clip):
    net, of = network(name), batch()
    x_star = adversarial(net, of, 0.3)
    x_star = x_star.clamp(0, 1) if clip else x_star
    expected = copy.deepcopy(net)
    ce = cross_entropy(expected(x_star), of.y, reduction="none")
    clean = cross_entropy(copy.deepcopy(net)(of.x), of.y, reduction="none")
    terms = make("fast_at", net, epsilon=0.3, clip=clip).terms(of, {})
    torch.testing.assert_close(terms.penalty, ce)
    torch.testing.assert_close(terms.loss, ce.mean())
    torch.testing.assert_close(terms.cross_entropy, clean)
    found = torch.autograd.grad(terms.loss, list(net.parameters()))
    torch.testing.assert_close(found, torch.autograd.grad(ce.mean(), list(expected.parameters())))


@pytest.mark.parametrize("name", ["batch_norm", "residual"])
def test_running_statistics_move_once_by_the_images_that_are_trained_on(name):
    net, of = network(name), batch()
    expected = copy.deepcopy(net)
    expected(adversarial(net, of, 0.1))
    make("fast_at", net, epsilon=0.1).terms(of, {}).loss.backward()
    torch.testing.assert_close(dict(net.named_buffers()), dict(expected.named_buffers()))
    assert all(m.track_running_stats for m in net.modules() if isinstance(m, torch.nn.BatchNorm2d))


def test_half_the_step_is_adversarial_training_to_second_order():
    """Eq. 12: both losses are L + epsilon/2 ‖∇ₓL‖₁ + O(epsilon²); at the same epsilon they part at first order."""
    net, of = network("attention"), batch()  # smooth, unlike ReLU

    def apart(epsilon, fast_epsilon):
        original = make("at", net, epsilon=epsilon).terms(of, {})
        fast = make("fast_at", net, epsilon=fast_epsilon).terms(of, {})
        return (fast.penalty - (original.cross_entropy + original.penalty) / 2).detach()

    assert (apart(1e-4, 5e-5) / apart(5e-5, 2.5e-5)).tolist() == pytest.approx([4] * 5, rel=0.02)
    assert (apart(1e-4, 1e-4) / apart(5e-5, 5e-5)).tolist() == pytest.approx([2] * 5, rel=0.02)
