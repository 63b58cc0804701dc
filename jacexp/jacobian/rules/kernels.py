"""Convolution's two adjoints, with the shapes that CPU libraries compute slowly done another way."""

import torch
import torch.nn.functional as F
from torch import Tensor

Pair = tuple[int, ...]


def conv_transpose(
    u: Tensor, W: Tensor, in_size: Pair, stride: Pair, padding: Pair, dilation: Pair, groups: int
) -> Tensor:
    """Apply the transpose of x -> Conv(x, W) to u: (B, out, H', W') -> (B, in, H, W).

    Args:
        u: adjoints of the convolution's output.
        W: its kernel, (out, in / groups, k, k).
        in_size: (H, W), which several inputs' output sizes do not tell apart.
        stride: its stride in both directions, as ``padding`` and ``dilation``.
        padding: zeros on each side.
        dilation: the distance of the kernel's taps.
        groups: its groups.

    Returns:
        Its transpose applied to u.
    """
    block = _block(W.shape[1]) if u.device.type == "cpu" and groups == 1 else 1
    if block > 1 and stride == dilation == (1, 1):
        return _blockwise_transpose(u, W, in_size, padding, block)
    ends = (
        n - (s * (m - 1) - 2 * p + d * (k - 1) + 1)
        for n, m, k, s, p, d in zip(
            in_size, u.shape[-2:], W.shape[-2:], stride, padding, dilation, strict=True
        )
    )
    return F.conv_transpose2d(u, W, None, stride, padding, tuple(ends), groups, dilation)


def conv_weight(
    v: Tensor, u: Tensor, W: Tensor, stride: Pair, padding: Pair, dilation: Pair, groups: int
) -> Tensor:
    """Compute ∂⟨u, Conv(v, W)⟩/∂W, in the shape of W."""
    zero = [0] * len(stride)
    geometry = (list(stride), list(padding), list(dilation), False, zero, groups)
    _, dW, _ = torch.ops.aten.convolution_backward(u, v, W, None, *geometry, [False, True, False])
    return dW


def _block(channels: int) -> int:
    """Return the r for which r² pixels of all channels fill the 16 lanes of a CPU, where that measured faster."""
    return {1: 4, 2: 2, 3: 2}.get(channels, 1)


def _blockwise_transpose(u: Tensor, W: Tensor, in_size: Pair, padding: Pair, r: int) -> Tensor:
    """Compute r × r pixels of the result as r² channels of one convolution with stride r.

    The transpose is a convolution with the flipped kernel. Into an image of 1 or 3 channels it leaves most lanes of
    the CPU idle; r² shifted copies of the kernel fill them, for (1 + (r − 1)/k)² times the multiply-adds.

    Returns:
        What `conv_transpose` gives.
    """
    k = W.shape[-2:]
    flipped = F.pad(W.flip(2, 3), [r - 1] * 4)
    # Copy (a, b) of the kernel is moved by a and b: a window into its padded self.
    starts = range(r - 1, -1, -1)
    copies = torch.stack([flipped[:, :, s : s + k[0] + r - 1] for s in starts], dim=2)
    copies = torch.stack([copies[..., s : s + k[1] + r - 1] for s in starts], dim=3)  # (out, in, a, b, ., .)
    kernel = copies.permute(1, 2, 3, 0, 4, 5).flatten(0, 2)
    blocks = [-(-n // r) for n in in_size]
    before = [k[d] - 1 - padding[d] for d in (0, 1)]
    after = [r * blocks[d] - 1 + k[d] - before[d] - u.shape[d - 2] for d in (0, 1)]
    u = F.pad(u, [before[1], after[1], before[0], after[0]])
    pixels = F.pixel_shuffle(F.conv2d(u, kernel, stride=r), r)
    return pixels[..., : in_size[0], : in_size[1]]
