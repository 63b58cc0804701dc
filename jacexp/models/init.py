"""Initial weights, drawn from a generator and nothing else."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from math import sqrt
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from jacexp.errors import ConfigError
from jacexp.random import make_generator, stream_seed

Body = TypeVar("Body", bound=nn.Module)

Affine = nn.Conv2d | nn.Linear
"""The layers with weights W (out, in, …) and a bias; fan_in = in·k·k, fan_out = out·k·k."""


def toolbox(layer: Affine, generator: torch.Generator) -> None:
    """W ~ U(−½, ½)·√(2/fan_in), b = 0, as the ConvNet toolbox that Demyanov et al. cite since 25 September 2016."""
    fan_in = layer.weight[0].numel()
    bound = 0.5 * sqrt(2 / fan_in)
    nn.init.uniform_(layer.weight, -bound, bound, generator=generator)
    _zero_bias(layer)


def toolbox_small(layer: Affine, generator: torch.Generator) -> None:
    """W ~ U(−0.005, 0.005), b = 0, as that toolbox until 25 September 2016."""
    nn.init.uniform_(layer.weight, -0.005, 0.005, generator=generator)
    _zero_bias(layer)


def toolbox_2015(layer: Affine, generator: torch.Generator) -> None:
    """W ~ N(0, 0.01²) in convolutions and N(0, 0.1²) in linear layers, b = 0, as that toolbox in 2015."""
    std = 0.01 if isinstance(layer, nn.Conv2d) else 0.1
    nn.init.normal_(layer.weight, 0.0, std, generator=generator)
    _zero_bias(layer)


def pytorch(layer: Affine, generator: torch.Generator) -> None:
    """W, b ~ U(−1, 1)/√fan_in, which is what the constructors of torch.nn draw."""
    fan_in = layer.weight[0].numel()
    bound = 1 / sqrt(fan_in)
    nn.init.uniform_(layer.weight, -bound, bound, generator=generator)
    if layer.bias is not None:
        nn.init.uniform_(layer.bias, -bound, bound, generator=generator)


def torchvision(layer: Affine, generator: torch.Generator) -> None:
    """W ~ N(0, 2/fan_out) in convolutions and N(0, 0.01²) in linear layers, b = 0, as torchvision's VGG."""
    if isinstance(layer, nn.Conv2d):
        nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu", generator=generator)
    else:
        nn.init.normal_(layer.weight, 0.0, 0.01, generator=generator)
    _zero_bias(layer)


def _zero_bias(layer: Affine) -> None:
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


SCHEMES: dict[str, Callable[[Affine, torch.Generator], None]] = {
    "toolbox": toolbox,
    "toolbox_small": toolbox_small,
    "toolbox_2015": toolbox_2015,
    "torch": pytorch,
    "torchvision": torchvision,
}
"""The values of the switch ``init``."""


def initialize(body: nn.Module, scheme: str, generator: torch.Generator) -> None:
    """Draw the weights of all convolutions and linear layers anew, in the order of ``body.modules()``.

    Args:
        body: the network; its other layers keep what their constructors gave them.
        scheme: a name in ``SCHEMES``.
        generator: the one source of randomness, on the device of the parameters.

    Raises:
        ConfigError: for an unknown scheme.
    """
    if scheme not in SCHEMES:
        raise ConfigError(f"model.init={scheme!r} is unknown; choose one of {', '.join(SCHEMES)}")
    for layer in body.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            SCHEMES[scheme](layer, generator)


def initialized(make: Callable[[], Body], scheme: str | None, seed: int) -> Body:
    """Build a body on the CPU whose initial weights come from the seed's stream ``init`` and from nowhere else.

    Layers keep the initialisation of their own constructors, drawn from that stream too, but for those that the
    scheme draws. The global generator is left as it was.

    Args:
        make: builds the body.
        scheme: a name in ``SCHEMES``; None leaves all to the constructors.
        seed: the run's seed.

    Returns:
        The body, in train mode.

    Raises:
        ConfigError: for an unknown scheme, or naming a parameter or buffer that nothing initialises.
    """
    with torch.device("cpu"), torch.random.fork_rng(devices=[]), _marked_memory():
        torch.default_generator.manual_seed(stream_seed(seed, "init"))
        body = make()
    if scheme is not None:
        initialize(body, scheme, make_generator(seed, "init"))
    for name, tensor in chain(body.named_parameters(), body.named_buffers()):
        if is_lazy(tensor) or tensor.is_meta or _is_marked(tensor):
            raise ConfigError(
                f"{type(body).__name__}.{name} has no initial value: give it one where the layer is constructed"
            )
    return body


@contextmanager
def _marked_memory() -> Iterator[None]:
    """Fill memory that PyTorch allocates and does not initialise with NaN, or the largest integer."""
    before = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])


def _is_marked(tensor: Tensor) -> bool:
    if tensor.is_floating_point() or tensor.is_complex():
        return bool(tensor.isnan().any())
    return tensor.dtype != torch.bool and bool((tensor == torch.iinfo(tensor.dtype).max).any())
