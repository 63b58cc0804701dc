"""The bound on the spectral norm: a penalty on each weight's own norm."""

import copy
from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from typing_extensions import override

from jacexp.jacobian.autograd import pullback
from jacexp.jacobian.norms import unit
from jacexp.methods.draws import Noise
from jacexp.methods.hyperparameters import Strength
from jacexp.methods.weights import WeightPenalty
from jacexp.models.network import Network


class SpectralBound(WeightPenalty):
    """CE + lam · Σ_l σ₁(W_l)² over the weights W_l (Yoshida & Miyato 2017; Johansson et al., Eq. 5).

    Each σ₁ is estimated by one power iteration a step from a fresh v ~ N(0, I): σ̂ = ‖Wᵀû‖, û = Wv/‖Wv‖, û constant.
    With ``conv="reshaped"``, as in both papers, a kernel is the matrix (out, in · k · k), and the product of the norms
    is *not* a bound on the Jacobian; with ``"operator"`` it is the convolution itself on images of the layer's size,
    whose product is one (for pools that do not overlap, and but for batch norm's scales).
    """

    lam: Strength
    conv: Literal["reshaped", "operator"] = "reshaped"

    @override
    def draw_several(
        self, net: Network, x: Tensor, z: Tensor, n: int, generator: torch.Generator | None
    ) -> Sequence[Noise]:
        """Draw the start of each weight's power iterations, v ~ N(0, I) in the shape of what the weight multiplies."""
        drawn = {
            name: torch.randn((n, *shape), dtype=x.dtype, device=x.device, generator=generator)
            for name, shape in input_shapes(net, x.shape[1:], self.conv).items()
        }
        return [{name: value[i] for name, value in drawn.items()} for i in range(n)]

    @override
    def weight_penalty(self, net: nn.Module, noise: Noise) -> Tensor:
        """Σ_l σ̂(W_l)², () summed over the weights."""
        layers = weighted_layers(net)
        norms = [power_step(linear_map(layers[name], self.conv), v) for name, v in noise.items()]
        return torch.stack(norms).square().sum()


def power_step(apply: Callable[[Tensor], Tensor], v: Tensor) -> Tensor:
    """Estimate a linear map's norm by one power iteration: σ̂ = ‖Wᵀû‖, û = Wv/‖Wv‖ held constant, ()."""
    u, transpose = pullback(apply, v)
    return torch.linalg.vector_norm(transpose(unit(u.detach()[None])[0]))


def weighted_layers(net: nn.Module) -> dict[str, nn.Linear | nn.Conv2d]:
    """Return the linear and convolutional layers of a network by name."""
    return {name: m for name, m in net.named_modules() if isinstance(m, nn.Linear | nn.Conv2d)}


def linear_map(layer: nn.Linear | nn.Conv2d, conv: str) -> Callable[[Tensor], Tensor]:
    """Return the map v -> W v of a layer, without its bias."""
    if isinstance(layer, nn.Conv2d) and conv == "operator":
        return partial(layer._conv_forward, weight=layer.weight, bias=None)
    return partial(torch.mv, layer.weight.flatten(1))


_shapes: WeakKeyDictionary[nn.Module, dict[tuple[torch.Size, str], dict[str, torch.Size]]] = (
    WeakKeyDictionary()
)


def input_shapes(net: Network, image: torch.Size, conv: str) -> dict[str, torch.Size]:
    """Find, once a network, the shape of the v of each layer: (in,), or (C, H, W) for a convolution as an operator."""
    known = _shapes.setdefault(net.body, {})  # which outlives a wrapper of it
    if (image, conv) not in known:
        known[image, conv] = _found_shapes(net, image, conv)
    return known[image, conv]


def _found_shapes(net: Network, image: torch.Size, conv: str) -> dict[str, torch.Size]:
    shapes: dict[str, torch.Size] = {}
    trial = copy.deepcopy(net).to("meta").eval()

    def record(layer: nn.Module, args: tuple[Tensor, ...], name: str) -> None:
        spatial = isinstance(layer, nn.Conv2d) and conv == "operator"
        shapes[name] = args[0].shape[1:] if spatial else layer.weight.flatten(1).shape[1:]  # type: ignore[operator]

    for name, layer in weighted_layers(trial).items():
        layer.register_forward_pre_hook(partial(record, name=name))
    dtype = next(net.parameters()).dtype
    trial(torch.empty(1, *image, device="meta", dtype=dtype))
    return shapes
