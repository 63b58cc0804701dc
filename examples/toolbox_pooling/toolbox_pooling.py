"""The max pooling of Demyanov et al.'s toolbox, which loses windows in its linear passes, as a layer of one's own."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from jacexp.jacobian.rules.base import as_rows, per_sample, register_rule
from jacexp.jacobian.rules.pooling import MaxPool2d
from jacexp.models import convnet


class ToolboxMaxPool2d(nn.MaxPool2d):
    """Max pooling as ever, but for the passes of a penalty, where windows that share their maximum pass nothing.

    The toolbox finds each window's maximum in a linear pass by comparing derivatives: the pixel whose dx is the
    window's dy. Where several windows have their maximum at one pixel its dx is the sum of their dy, no pixel
    matches, and the window passes 0 (sdemyanov/ConvNet, 2c5e113 of 2015 and 693f1d8 of 2016). The text has "the same
    positions as on the first pass". Derivatives that agree by chance are left out here.
    """


@register_rule(ToolboxMaxPool2d)
class ToolboxMaxPool2dRule(MaxPool2d):
    """y = m ⊙ v[I], m = 1 for the windows whose maximum is no other window's; the loss's own pass is exact.

    Loss IBP's third pass is `tangent`; Prediction IBP's and tangent propagation's are `tangent` and `transpose`. The
    second pass, whose d = ∇ₓL the invariant penalties start from, is the loss's.
    """

    def keep(self, x: Tensor, indices: Tensor) -> None:
        """Keep I, and the windows that are alone at their maximum."""
        super().keep(x, indices)
        windows = torch.bincount(self.indices, minlength=x.numel())[self.indices]
        self.alone = self._images((windows == 1).to(x.dtype)[None], x.shape[1], self.out_size)

    def tangent(self, v: Tensor) -> Tensor:
        """m ⊙ v[I]."""
        return self._alone(super().tangent(v))

    def transpose(self, u: Tensor) -> Tensor:
        """y[I] += m ⊙ u."""
        return super().transpose(self._alone(u))

    def backward(self, u: Tensor, n: int, shared: bool) -> Tensor:  # noqa: ARG002
        """All windows for the loss's n rows, those that are alone for the others."""
        return super().transpose(torch.cat([u[:n], self._alone(u[n:])]) if n < len(u) else u)

    def _alone(self, v: Tensor) -> Tensor:
        return as_rows(self.alone * per_sample(v, self.batch), v.ndim)


def convnet_mnist(in_shape: Sequence[int], n_classes: int) -> nn.Sequential:
    """Build the MNIST network of Demyanov et al., section 5, with the toolbox's pooling.

    Args:
        in_shape: (C, H, W).
        n_classes: the number of logits.

    Returns:
        The layers of ``model=convnet_mnist``, which have the same initial weights under the same seed.
    """
    body = convnet.convnet_mnist(tuple(in_shape), n_classes, filters=(32, 64), pool="floor")
    for i, layer in enumerate(body):
        if isinstance(layer, nn.MaxPool2d):
            body[i] = ToolboxMaxPool2d(layer.kernel_size, layer.stride)
    return body
