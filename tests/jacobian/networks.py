"""Small networks that, together, have every layer with a rule, and the shapes that naive rules get wrong."""

import torch
from torch import Tensor, nn

N_CLASSES = 4


class Residual(nn.Module):
    """A sum whose other branch skips a convolution, one that skips nothing, and functions in place of modules."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(2, 4, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.conv = nn.Conv2d(4, 4, 3, padding=1)
        self.inner = nn.BatchNorm2d(4)
        self.down = nn.Conv2d(4, 6, 1, stride=2)
        self.head = nn.Linear(6, N_CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.stem(x)))
        x = torch.relu(x + self.inner(self.conv(x)))
        x = torch.relu(self.down(x))
        x = nn.functional.adaptive_avg_pool2d(x, 1)
        return self.head(x.view(x.size(0), -1))


class Branches(nn.Module):
    """Concatenated branches from the input itself, one without parameters, and a pool of what they share."""

    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Sequential(
            nn.ZeroPad2d((2, 1, 0, 1)), nn.Conv2d(2, 3, (3, 2), stride=(2, 1), dilation=(1, 2))
        )
        self.right = nn.Sequential(nn.AdaptiveMaxPool2d((4, 10)), nn.LeakyReLU(0.1))
        self.act = nn.LeakyReLU(0.2)
        self.mix = nn.Conv2d(5, 10, 3, groups=5)
        self.pool = nn.AvgPool2d(2, stride=1, padding=1, ceil_mode=True)
        self.head = nn.Sequential(nn.Flatten(), nn.LazyLinear(N_CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        x = torch.cat([self.act(self.left(x)), self.right(x)], dim=1)
        return self.head(self.pool(torch.relu(self.mix(x))))


def lenet() -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(2, 3, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(3, 5, 3), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.LazyLinear(6), nn.ReLU(), nn.Linear(6, N_CLASSES)),
    )


def overlapping() -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(2, 3, 4), nn.ReLU(), nn.MaxPool2d(3, 2, padding=1)),
        *(nn.Conv2d(3, 4, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2, ceil_mode=True)),
        *(nn.Flatten(), nn.LazyLinear(6), nn.ReLU(), nn.Linear(6, N_CLASSES)),
    )


def vgg() -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(inplace=True)),
        *(nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.MaxPool2d(2)),
        *(nn.Conv2d(4, 6, 3, padding=1), nn.BatchNorm2d(6, momentum=None), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.AdaptiveAvgPool2d((3, 3)), nn.Flatten(), nn.Linear(54, 8), nn.ReLU(), nn.Dropout(0.4)),
        *(
            nn.Linear(8, 8),
            nn.BatchNorm1d(8, affine=False),
            nn.LeakyReLU(),
            nn.Identity(),
            nn.Linear(8, N_CLASSES),
        ),
    )


NETWORKS = {
    "lenet": lenet,
    "overlapping": overlapping,
    "vgg": vgg,
    "residual": Residual,
    "branches": Branches,
}


def build(name: str, seed: int = 0) -> nn.Module:
    """Make a network in train mode, float64, with batch-norm scales and statistics that are not trivial."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = NETWORKS[name]().double()
        with torch.no_grad():
            net.eval()(batch()[0])  # makes the lazy layers
            for m in net.modules():
                if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d):
                    for t in (m.weight, m.running_var):
                        if t is not None:
                            t.uniform_(0.5, 1.5)
                    m.running_mean.normal_()
    return net.train()


def batch(seed: int = 0, n: int = 5) -> tuple[Tensor, Tensor]:
    """Draw n images of 9 × 9 pixels and 2 channels, and labels."""
    g = torch.Generator().manual_seed(seed)
    return torch.randn(n, 2, 9, 9, generator=g, dtype=torch.float64), torch.randint(
        N_CLASSES, (n,), generator=g
    )
