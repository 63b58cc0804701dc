import pytest
import torch
from torch import nn

from jacexp.errors import ConfigError
from jacexp.models import Network, Normalize


def test_normalize_divides_what_is_left_of_the_mean():
    normalize = Normalize(torch.tensor([0.5, 0.25]).view(2, 1, 1), torch.tensor([0.5, 2.0]).view(2, 1, 1))
    x = torch.tensor([1.0, 0.25]).view(1, 2, 1, 1).expand(3, 2, 4, 4)
    assert torch.equal(normalize(x), torch.tensor([1.0, 0.0]).view(1, 2, 1, 1).expand(3, 2, 4, 4))


def test_direction_is_the_derivative_of_normalize():
    generator = torch.Generator().manual_seed(0)
    mean, std = torch.rand(2, 3, 4, 5, generator=generator, dtype=torch.float64)
    normalize = Normalize(mean, std + 0.1)
    x, t = torch.rand(2, 6, 3, 4, 5, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(normalize.direction(t), torch.func.jvp(normalize, (x,), (t,))[1])


def test_direction_takes_several_directions_an_image():
    normalize = Normalize(torch.zeros(3, 1, 1), torch.tensor([1.0, 2.0, 4.0]).view(3, 1, 1))
    t = torch.ones(2, 5, 3, 6, 6)
    assert torch.equal(normalize.direction(t)[1, 4, :, 0, 0], torch.tensor([1.0, 0.5, 0.25]))


def test_network_applies_the_normalisation_first():
    net = Network(
        Normalize(torch.full((1, 1, 1), 0.5), torch.full((1, 1, 1), 0.25)), nn.Flatten(), n_classes=2
    )
    assert torch.equal(net(torch.ones(1, 1, 1, 2)), torch.tensor([[2.0, 2.0]]))


def test_normalisation_is_stored_and_is_no_parameter():
    net = Network(Normalize(torch.zeros(1, 1, 1), torch.ones(1, 1, 1)), nn.Linear(2, 2), n_classes=2)
    assert {"normalize.mean", "normalize.std"} <= set(net.state_dict())
    assert {name.split(".")[0] for name, _ in net.named_parameters()} == {"body"}


def test_changing_the_given_mean_later_changes_nothing():
    mean = torch.zeros(1, 1, 1)
    normalize = Normalize(mean, torch.ones(1, 1, 1))
    mean += 1
    assert normalize.mean.item() == 0


@pytest.mark.parametrize(
    ("pack", "found"),
    [
        (lambda z: (z,), "a tuple"),
        (lambda z: {"logits": z}, "a dict"),
        (lambda z: z[:, :2], r"a tensor \(5, 2\)"),
        (lambda z: z[:, None], r"a tensor \(5, 1, 3\)"),
        (lambda z: z.mean(0), r"a tensor \(3,\)"),
    ],
)
def test_a_body_that_returns_no_logits_is_named(pack, found):
    class Packed(nn.Module):
        def forward(self, x):
            return pack(x.flatten(1))

    net = Network(Normalize(torch.zeros(1, 1, 1), torch.ones(1, 1, 1)), Packed(), n_classes=3)
    with pytest.raises(ConfigError, match=rf"Packed returns {found} for 5 images of 3 classes"):
        net(torch.rand(5, 1, 1, 3))
