"""What the white-box attacks share, sample by sample."""

import torch

from jacexp.evaluate.ascent import cross_entropy, divergence, loss_gradient
from tests.evaluate.nets import convnet, images


def test_gradients_are_each_samples_own_and_not_a_share_of_a_mean():
    net, (x, y) = convnet(), images(5)
    pixels = x.double() / 255
    logits, gradients = loss_gradient(net, pixels, cross_entropy, y)
    assert torch.equal(logits, net(pixels))
    for i in range(len(x)):
        one = pixels[i : i + 1].clone().requires_grad_()
        loss = torch.nn.functional.cross_entropy(net(one), y[i : i + 1])
        torch.testing.assert_close(gradients[i], torch.autograd.grad(loss, one)[0][0])


def test_the_divergence_is_from_the_clean_probabilities():
    """KL(p ‖ q) = Σ p log(p/q), q = softmax(z), by its definition; KL(q ‖ p) is another number."""
    generator = torch.Generator().manual_seed(0)
    p, z = torch.randn(2, 6, 4, generator=generator, dtype=torch.float64)
    p = p.softmax(dim=1)
    expected = (p * (p / z.softmax(dim=1)).log()).sum(dim=1)
    torch.testing.assert_close(divergence(z, p), expected)
