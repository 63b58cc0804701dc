import pytest
import torch

from jacexp.evaluate import adversarial, check_samples
from tests.evaluate.nets import N_CLASSES, convnet, halves, images, linear, margins, masked, random_linear

EPSILONS = [0.0, 0.005, 0.02, 0.05, 0.3]


def test_linear_classifier_falls_exactly_where_its_margin_ends():
    """Of two classes, x* lowers the margin by epsilon·‖w‖₁: the worst case in the L∞ ball."""
    x, _ = images(400)
    w = torch.randn(64, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    w[0] = 0  # a pixel without a gradient is no vanished one
    net = halves(w, -w.sum().item() / 2)
    y = (net(x.double() / 255)[:, 1] > 0).long()
    margin = margins(net, x, y)
    expected = [int((margin > epsilon * w.abs().sum()).sum()) for epsilon in EPSILONS]
    table = adversarial(check_samples(net, x, y), epsilons=EPSILONS)
    assert table["n_correct"].tolist() == expected
    assert expected[0] == 400 > expected[1] > expected[-1] == 0
    assert set(table["check"]) == {""}


def test_equals_the_gradient_sign_of_each_samples_cross_entropy():
    net, (x, y) = convnet(), images(60, seed=1)
    pixels = (x.double() / 255).requires_grad_()
    expected = []
    for image, label in zip(pixels, y, strict=True):
        loss = torch.nn.functional.cross_entropy(net(image[None]), label[None])
        (gradient,) = torch.autograd.grad(loss, image)
        shown = torch.stack([image + epsilon * gradient.sign() for epsilon in EPSILONS])
        expected.append(net(shown).argmax(dim=1) == label)
    counts = torch.stack(expected).sum(dim=0).tolist()
    assert adversarial(check_samples(net, x, y), epsilons=EPSILONS)["n_correct"].tolist() == counts
    assert counts[0] > counts[-1]


def test_confident_samples_are_attacked_though_their_float32_loss_is_zero():
    weight = torch.tensor([[1.0], [-1.0], [0.0]])
    net = linear(1000 * weight, torch.tensor([-400.0, 600.0, -2000.0]))
    x, y = torch.full((8, 1, 1, 1), 0.6), torch.zeros(8, dtype=torch.long)
    pixels = x.clone().requires_grad_()
    loss = torch.nn.functional.cross_entropy(net(pixels), y, reduction="sum")
    assert loss == 0
    assert (torch.autograd.grad(loss, pixels)[0] == 0).all()
    assert adversarial(check_samples(net, x, y), epsilons=[0, 0.05, 0.2])["n_correct"].tolist() == [8, 8, 0]


def test_masked_gradients_raise_flags():
    net, (x, _) = masked(), images(300)
    y = net(x.double() / 255).argmax(dim=1)
    table = adversarial(check_samples(net, x, y), epsilons=[0, 0.3])
    assert table["check"].tolist() == ["zero_gradient=300", "weaker_than_noise;zero_gradient=300"]
    assert table["n_correct"].tolist() == [300, 300]


@pytest.mark.parametrize("seed", [0, 1])
def test_counts_do_not_depend_on_the_seed_of_the_check(seed):
    net, (x, y) = random_linear(64, N_CLASSES), images(100)
    assert adversarial(check_samples(net, x, y), epsilons=EPSILONS, seed=seed)["n_correct"].tolist() == (
        adversarial(check_samples(net, x, y), epsilons=EPSILONS, seed=5)["n_correct"].tolist()
    )
