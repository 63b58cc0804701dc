import math

import pytest
import torch
from torch import nn

from jacexp.evaluate import accuracy, check_samples, gaussian, white_noise
from tests.evaluate.nets import N_CLASSES, halves, images, random_linear

SIGMAS = [0.0, 0.1, 0.3, 1.0]


def test_gaussian_accuracy_of_a_linear_classifier_is_the_normal_integral():
    """P(right) = Φ(margin / (σ‖w‖)); a sum of independent answers is near its mean by Hoeffding's inequality."""
    n = 4000
    x, _ = images(n)
    w = torch.randn(64, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    net = halves(w, -w.sum().item() / 2)
    margin = (x.double() / 255).flatten(1) @ w - w.sum() / 2
    y = (margin > 0).long()
    table = gaussian(check_samples(net, x, y), sigmas=SIGMAS[1:])
    # fails for one seed in a billion
    bound = math.sqrt(n * math.log(2e9) / 2)
    for sigma, correct in zip(SIGMAS[1:], table["n_correct"], strict=True):
        expected = (0.5 * torch.erfc(-margin.abs() / (sigma * w.norm()) / math.sqrt(2))).sum().item()
        assert abs(correct - expected) < bound
        assert bound < 0.1 * expected


def test_gaussian_scales_one_pattern_so_that_two_classes_are_crossed_once():
    x, _ = images(500)
    w = torch.randn(64, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    y = ((x.double() / 255).flatten(1) @ w - w.sum() / 2 > 0).long()
    net = halves(w, -w.sum().item() / 2)
    sigmas = [i / 40 for i in range(41)]
    counts = gaussian(check_samples(net, x, y), sigmas=sigmas)["n_correct"]
    assert counts.is_monotonic_decreasing
    assert counts.iloc[-1] < counts.iloc[0]


@pytest.mark.parametrize("evaluation", [gaussian, white_noise])
def test_points_do_not_depend_on_other_points(evaluation):
    net, (x, y) = random_linear(64, N_CLASSES), images(120)
    whole = evaluation(check_samples(net, x, y), sigmas=SIGMAS).set_index("value")["n_correct"]
    alone = evaluation(check_samples(net, x, y), sigmas=[0.3]).set_index("value")["n_correct"]
    assert alone[0.3] == whole[0.3]


@pytest.mark.parametrize("evaluation", [gaussian, white_noise])
def test_seed_decides_the_noise(evaluation):
    net, (x, y) = random_linear(64, N_CLASSES), images(500)
    runs = [
        evaluation(check_samples(net, x, y), sigmas=SIGMAS, seed=seed)["n_correct"].tolist()
        for seed in (0, 0, 1)
    ]
    assert runs[0] == runs[1] != runs[2]
    assert runs[0][0] == accuracy(check_samples(net, x, y))["n_correct"][0]


class Recorder(nn.Module):
    """A network that remembers the pixels it is shown."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[torch.Tensor] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen.append(x)
        return torch.zeros(len(x), N_CLASSES)


def test_gaussian_has_one_pattern_for_all_sigmas_and_white_noise_one_for_each():
    x = torch.full((60, 1, 8, 8), 0.5, dtype=torch.float64)
    y = torch.zeros(60, dtype=torch.long)
    patterns = {}
    for evaluation in (gaussian, white_noise):
        net = Recorder()
        evaluation(check_samples(net, x, y), sigmas=[0.01, 0.02])
        _, small, large = net.seen
        patterns[evaluation] = torch.stack([(small - x) / 0.01, (large - x) / 0.02]).flatten(1)
    torch.testing.assert_close(*patterns[gaussian], rtol=0, atol=1e-5)
    # 3840 pairs: no correlation beyond six standard errors
    assert torch.corrcoef(patterns[white_noise])[0, 1].abs() < 6 / 3840**0.5


def test_white_noise_is_clipped_to_pixels_and_gaussian_noise_is_not():
    x = torch.full((60, 1, 8, 8), 0.5)
    y = torch.zeros(60, dtype=torch.long)
    clipped, free = Recorder(), Recorder()
    white_noise(check_samples(clipped, x, y), sigmas=[0.5])
    gaussian(check_samples(free, x, y), sigmas=[0.5])
    shown, noise = torch.cat(clipped.seen[1:]), torch.cat(free.seen[1:]) - 0.5
    assert (shown.min(), shown.max()) == (0, 1)
    # N(0, 1/4) around 1/2 leaves [0, 1] at more than one deviation: 31.7 %, within six standard errors
    outside = ((shown == 0) | (shown == 1)).double().mean().item()
    assert abs(outside - math.erfc(1 / math.sqrt(2))) < 6 * math.sqrt(0.317 * 0.683 / noise.numel())
    assert abs(noise.std() / 0.5 - 1) < 6 / math.sqrt(2 * noise.numel())
    assert noise.abs().max() > 1
