"""A stack's batches are, network by network, those that each would have had alone."""

import pytest
import torch

from jacexp.data import Affine, CropFlip, Loader, StackedLoader, Tangents

N, SIZE = 50, 16
WHICH = {"all alike": [0, 0], "one each": [0, 1, 2, 3], "shared": [3, 1, 1, 0, 2, 3]}


def loaders(device="cpu", **settings):
    """Make two sets of images, each in two orders, taking turns."""
    g = torch.Generator().manual_seed(0)
    sets = [Loader(torch.randint(256, (N, 3, 6, 5), generator=g).byte(), torch.arange(N) + n, batch_size=SIZE,
                   device=device, seed=7, **settings) for n in (0, 100)]  # fmt: skip
    return [sets[0], sets[1], sets[0].with_seed(8), sets[1].with_seed(8)]


@pytest.mark.parametrize("which", WHICH.values(), ids=WHICH)
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"augment": Affine()},
        {"augment": CropFlip(2), "tangents": Tangents((3, 6, 5))},
        {"tangents": torch.randn(N, 2, 3, 6, 5)},
        {"shuffle": False},
    ],
    ids=["bytes", "augmented", "tangents of each batch", "tangents of the set", "in order"],
)
def test_each_network_has_its_own_batches(which, settings):
    together = loaders(**settings)
    stacked = StackedLoader(together[: max(which) + 1], which)
    stacked.set_epoch(2, start=1)
    alone = [loaders(**settings)[number] for number in which]
    for loader in alone:
        loader.set_epoch(2, start=1)
    n_batches = 0
    for batch, *own in zip(stacked, *alone, strict=True):
        n_batches += 1
        for joined, *parts in zip(batch, *own, strict=True):
            assert (joined is None) == (parts[0] is None)
            assert joined is None or torch.equal(joined, torch.cat(parts))
    assert n_batches == len(stacked) - 1 == 3


def test_networks_with_one_order_share_a_gather(monkeypatch):
    calls, take = [], torch.Tensor.index_select
    monkeypatch.setattr(torch.Tensor, "index_select", lambda *a: calls.append(len(a[2])) or take(*a))
    next(iter(StackedLoader(loaders()[:1], [0, 0, 0])))
    assert calls[:2] == [SIZE, SIZE]  # the images and their classes, before they are handed out
