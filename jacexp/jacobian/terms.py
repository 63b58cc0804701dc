"""What a training step computes of a batch."""

from typing import NamedTuple

from torch import Tensor


class Terms(NamedTuple):
    """The loss of one batch and what it is made of."""

    loss: Tensor
    """(), the mean over samples; (N,) of N stacked networks. Only this has a gradient."""
    cross_entropy: Tensor
    """(B,), of the clean images, one a sample."""
    penalty: Tensor
    """(B,), one a sample; () or (N,) where it belongs to the weights alone."""
    logits: Tensor
    """(B, C), of the clean images."""
