"""Small networks in float64, each with what makes Jacobians hard: pools, batch norm, dropout, sums, attention."""

import torch
from torch import Tensor, nn

from jacexp.models import Network, Normalize
from jacexp.random import make_generator

IMAGE = (2, 8, 8)
N_CLASSES = 4


class Residual(nn.Module):
    def __init__(self, inner: nn.Module):
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return x + self.inner(x)


class Attention(nn.Module):
    """Self-attention over the 16 patches of an image, with the fused kernel that has no second derivative."""

    def __init__(self):
        super().__init__()
        self.qkv = nn.Linear(8, 24)
        self.head = nn.Linear(8, N_CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        patches = x.unfold(2, 2, 2).unfold(3, 2, 2).permute(0, 2, 3, 1, 4, 5).reshape(len(x), 16, 8)
        q, k, v = self.qkv(patches).unsqueeze(1).chunk(3, dim=-1)
        mixed = nn.functional.scaled_dot_product_attention(q, k, v).squeeze(1)
        return self.head(nn.functional.gelu(mixed).mean(dim=1))


def conv() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 3, 3), nn.ReLU(), nn.MaxPool2d(3, stride=2), nn.Flatten(), nn.Linear(12, N_CLASSES)
    )


def mlp() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(128, 10), nn.ReLU(), nn.Linear(10, N_CLASSES))


def batch_norm() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(108, N_CLASSES)
    )


def residual() -> nn.Module:
    block = nn.Sequential(nn.Conv2d(2, 2, 3, padding=1), nn.BatchNorm2d(2), nn.ReLU())
    return nn.Sequential(Residual(block), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(32, N_CLASSES))


def dropout() -> nn.Module:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(128, 10), nn.Tanh(), nn.Dropout(0.5), nn.Linear(10, N_CLASSES)
    )


def dropout_and_batch_norm() -> nn.Module:
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(128, 10),
        nn.BatchNorm1d(10),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(10, N_CLASSES),
    )


class Shortcuts(nn.Module):
    """A sum of a value, of a layer of it and, after that, of layers with batch norm; functions in place of modules."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(2, 4, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.side = nn.Conv2d(4, 4, 1)
        self.conv = nn.Conv2d(4, 4, 3, padding=1)
        self.inner = nn.BatchNorm2d(4)
        self.down = nn.Conv2d(4, 6, 1, stride=2)
        self.head = nn.Linear(6, N_CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.stem(x)))
        side = self.side(x)
        x = torch.relu(x + self.inner(self.conv(x)) + side)
        x = torch.relu(self.down(x))
        x = nn.functional.adaptive_avg_pool2d(x, 1)
        return self.head(x.view(x.size(0), -1))


class Branches(nn.Module):
    """Concatenated branches from the input itself, one without parameters, and a pool of what they share."""

    def __init__(self):
        super().__init__()
        self.left = nn.Sequential(
            nn.ZeroPad2d((2, 1, 0, 1)), nn.Conv2d(2, 3, (3, 2), stride=(2, 1), dilation=(1, 2))
        )
        self.right = nn.Sequential(nn.AdaptiveMaxPool2d((4, 9)), nn.LeakyReLU(0.1))
        self.act = nn.LeakyReLU(0.2)
        self.mix = nn.Conv2d(5, 10, 3, groups=5)
        self.pool = nn.AvgPool2d(2, stride=1, padding=1, ceil_mode=True)
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(240, N_CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        x = torch.cat([self.act(self.left(x)), self.right(x)], dim=1)
        return self.head(self.pool(torch.relu(self.mix(x))))


def lenet() -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(2, 3, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(3, 5, 3), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, N_CLASSES)),
    )


def overlapping() -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(2, 3, 4, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2, padding=1)),
        *(nn.Conv2d(3, 4, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2, ceil_mode=True)),
        *(nn.Flatten(), nn.Linear(16, 6), nn.ReLU(), nn.Linear(6, N_CLASSES)),
    )


def vgg() -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(inplace=True)),
        *(nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.MaxPool2d(2)),
        *(nn.Conv2d(4, 6, 3, padding=1), nn.BatchNorm2d(6, momentum=None), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.AdaptiveAvgPool2d((3, 3)), nn.Flatten(), nn.Linear(54, 8), nn.ReLU(), nn.Dropout(0.4)),
        *(nn.Linear(8, 8), nn.BatchNorm1d(8, affine=False), nn.LeakyReLU(), nn.Identity()),
        nn.Linear(8, N_CLASSES),
    )


WITH_RULES = {
    "lenet": lenet,
    "overlapping": overlapping,
    "vgg": vgg,
    "shortcuts": Shortcuts,
    "branches": Branches,
}
"""Those that, together, have every layer with a rule, and the shapes that naive rules get wrong."""

BODIES = {
    "conv": conv,
    "mlp": mlp,
    "batch_norm": batch_norm,
    "residual": residual,
    "dropout": dropout,
    "dropout_and_batch_norm": dropout_and_batch_norm,
    "attention": Attention,
}
"""Those that each have one thing that makes Jacobians hard."""


def body(name: str, seed: int = 0, dtype: torch.dtype = torch.float64) -> nn.Module:
    """Build a body in train mode with every parameter drawn N(0, 0.3²), and running statistics that are not trivial."""
    net = (BODIES | WITH_RULES)[name]().to(dtype)
    generator = make_generator(seed, "test", name)
    with torch.no_grad():
        for p in net.parameters():
            p.copy_(0.3 * torch.randn(p.shape, dtype=dtype, generator=generator))
        for m in net.modules():
            if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d):
                m.running_mean.normal_(0, 0.3, generator=generator)
                m.running_var.uniform_(0.5, 1.5, generator=generator)
    return net


def network(name: str, seed: int = 0, dtype: torch.dtype = torch.float64) -> Network:
    """Put a body behind a normalisation that divides, so that confusing pixels with network units shows."""
    mean, std = torch.full((2, 1, 1), 0.4), torch.tensor([0.5, 0.25]).view(2, 1, 1)
    return Network(Normalize(mean, std), body(name, seed, dtype), N_CLASSES).to(dtype)


def images(n: int = 5, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.rand(n, *IMAGE, dtype=dtype, generator=make_generator(seed, "test", "images"))


def labels(n: int = 5, seed: int = 0) -> Tensor:
    return torch.randint(N_CLASSES, (n,), generator=make_generator(seed, "test", "labels"))


def normals(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=make_generator(seed, "test", "normals"))
