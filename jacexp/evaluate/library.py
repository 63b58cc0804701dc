"""Attacks from torchattacks, kept from touching anything but the images that they return."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from jacexp.evaluate.frozen import finite_logits, frozen, global_random_state_kept, is_correct
from jacexp.evaluate.samples import Progress, Samples
from jacexp.random import make_generator

MakeAttack = Callable[[Any, nn.Module, int], Callable[[Tensor, Tensor], Tensor]]
"""Takes the module torchattacks, a network and a seed to an attack: images, labels -> adversarial images."""


class Float32(nn.Module):
    """A network of any float type that looks like float32, the one type that all of the library's attacks know."""

    def __init__(self, net: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.net, self.dtype = net, dtype

    def forward(self, x: Tensor) -> Tensor:
        """Give the logits, (B, C) float32, of pixels in [0,1], (B, *in) float32."""
        return finite_logits(self.net, x.to(self.dtype)).float()


def correct_under(
    net: nn.Module,
    samples: Samples,
    make_attack: MakeAttack,
    *,
    chunk: int,
    seed: int,
    stream: str,
    progress: Progress | None = None,
) -> Tensor:
    """Say which samples stay right under an attack of the library.

    The library draws for whole batches from the global generator, which it seeds itself. So the batches are chunks of
    a size that is a setting of its own, each with its own seed, and the global generator's state is kept.

    Args:
        net: a network from pixels in [0,1] to logits.
        samples: checked images and labels.
        make_attack: makes the attack on one chunk.
        chunk: images attacked together; the numbers depend on it.
        seed: of the evaluation.
        stream: names the attack among those of the seed.
        progress: told of the samples done.

    Returns:
        (N,) bool, on the CPU.
    """
    import torchattacks  # here, because it takes seconds that other evaluations need not wait for

    correct, seen = [], Float32(net, samples.dtype)
    with frozen(seen), global_random_state_kept():
        for number, batch in enumerate(samples.batches(chunk, progress)):
            attack = make_attack(torchattacks, seen, make_generator(seed, stream, number).initial_seed())
            correct.append(is_correct(seen, attack(batch.x.float(), batch.y), batch.y))
    return torch.cat(correct).cpu()
