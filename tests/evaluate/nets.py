"""Small networks whose answers are known in closed form, and one with every layer that has a mode."""

import copy
from functools import cache

import torch
from torch import Tensor, nn

from jacexp.models import Network, Normalize
from jacexp.random import make_generator

N_CLASSES = 4


def images(n: int, shape: tuple[int, ...] = (1, 8, 8), seed: int = 0) -> tuple[Tensor, Tensor]:
    """Make uint8 images and labels."""
    generator = make_generator(seed, "images")
    x = torch.randint(256, (n, *shape), generator=generator, dtype=torch.uint8)
    return x, torch.randint(N_CLASSES, (n,), generator=generator)


def linear(weight: Tensor, bias: Tensor, *, std: float = 1.0) -> Network:
    """Make the classifier z = W x/std + b in W's type."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], dtype=weight.dtype)
    layer.load_state_dict({"weight": weight, "bias": bias})
    normalize = Normalize(torch.zeros(1, 1, 1).to(weight), torch.full((1, 1, 1), std).to(weight))
    return Network(normalize, nn.Sequential(nn.Flatten(), layer), len(weight)).eval()


def random_linear(n_in: int, n_classes: int, *, seed: int = 0, std: float = 1.0) -> Network:
    """Make a linear classifier, float64, that gives all its classes to images around 1/2."""
    generator = make_generator(seed, "linear")
    weight = torch.randn(n_classes, n_in, generator=generator, dtype=torch.float64)
    bias = -weight.sum(dim=1) / 2 / std
    return linear(weight, bias, std=std)


def halves(weight: Tensor, bias: float = 0.0) -> Network:
    """Make the linear classifier of two classes with z₁ − z₀ = w·x + b."""
    return linear(torch.stack([torch.zeros_like(weight), weight]), torch.tensor([0.0, bias]).to(weight))


def convnet(dtype: torch.dtype = torch.float64) -> Network:
    """Make a network with batch norm, dropout and overlapping pools for (1, 8, 8) images, trained a little."""
    return copy.deepcopy(_trained_convnet()).to(dtype).eval()


@cache
def _trained_convnet() -> Network:
    body = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(3, stride=2),
        nn.Conv2d(4, 6, 3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Dropout(0.5),
        nn.Linear(6, N_CLASSES),
    )
    mean = torch.full((1, 1, 1), 0.5)
    net = Network(Normalize(mean, 0.6 * mean), body, N_CLASSES).double()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for module in body:
            if hasattr(module, "reset_parameters"):
                module.reset_parameters()
        x, y = images(200, seed=1)
        optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
        for _ in range(60):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(x.double() / 255), y).backward()
            optimizer.step()
    net.zero_grad()
    return net


class Rounding(nn.Module):
    """A layer that masks gradients: it rounds, so its derivative is 0 everywhere."""

    def forward(self, x: Tensor) -> Tensor:
        """Round to multiples of 1/8."""
        return (x * 8).round() / 8


def masked(seed: int = 0) -> Network:
    """Make a linear classifier behind a rounding of its input."""
    net = random_linear(64, N_CLASSES, seed=seed)
    return Network(net.normalize, nn.Sequential(Rounding(), *net.body), N_CLASSES).eval()


def margins(net: Network, x: Tensor, y: Tensor) -> Tensor:
    """Return the logit of the label less the largest other, (N,)."""
    logits = net(x.double() / 255 if x.dtype == torch.uint8 else x)
    own = logits.gather(1, y[:, None])[:, 0]
    return own - logits.scatter(1, y[:, None], -torch.inf).amax(dim=1)
