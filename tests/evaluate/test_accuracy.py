import pytest
import torch

from jacexp.evaluate import accuracy, check_samples
from tests.evaluate.nets import images, margins, random_linear


def test_counts_positive_margins_and_averages_cross_entropies():
    net = random_linear(64, 4)
    x, y = images(300)
    (row,) = accuracy(check_samples(net, x, y, batch_size=77)).to_dict("records")
    assert (row["n"], row["n_correct"]) == (300, int((margins(net, x, y) > 0).sum()))
    losses = -net(x.double() / 255).log_softmax(dim=1)[torch.arange(300), y]
    assert row["statistic"] == "cross_entropy"
    expected = [losses.mean().item(), losses.std().item(), losses.min().item(), losses.max().item()]
    assert [row[cell] for cell in ("mean", "std", "min", "max")] == pytest.approx(expected)
