import pytest
import torch

from jacexp.data import Affine, CropFlip, Loader, Tangents, epoch_order
from jacexp.errors import ConfigError

N = 50


@pytest.fixture
def images():
    generator = torch.Generator().manual_seed(0)
    return torch.randint(256, (N, 3, 6, 5), generator=generator).byte(), torch.arange(N)


def epoch(loader):
    """All of an epoch, batches put together."""
    batches = list(loader)
    return [torch.cat(part) for part in zip(*batches, strict=True) if part[0] is not None]


def test_an_epoch_is_a_permutation_of_the_set_with_a_short_last_batch(images):
    x, y = images
    loader = Loader(x, y, batch_size=16)
    assert len(loader) == 4
    assert [len(batch.x) for batch in loader] == [16, 16, 16, 2]
    got_x, got_y = epoch(loader)
    assert sorted(got_y.tolist()) == y.tolist()
    assert torch.equal(got_x, x[got_y].float() / 255)
    assert got_x.dtype == torch.float32
    assert got_y.dtype == torch.int64


def test_evaluation_keeps_the_order_and_may_have_one_short_batch(images):
    x, y = images
    got_x, got_y = epoch(Loader(x, y, batch_size=1000, shuffle=False))
    assert torch.equal(got_y, y)
    assert torch.equal(got_x, x.float() / 255)


def test_order_is_a_function_of_seed_and_epoch_alone(images):
    loader = Loader(*images, batch_size=16, seed=7)
    first = epoch(loader)[1]
    assert torch.equal(first, epoch_order(N, 7, 0))
    assert torch.equal(first, epoch(loader)[1])
    assert torch.equal(first, epoch(Loader(*images, batch_size=3, seed=7))[1])
    loader.set_epoch(1)
    assert not torch.equal(first, epoch(loader)[1])
    assert not torch.equal(first, epoch(Loader(*images, batch_size=16, seed=8))[1])
    loader.set_epoch(0)
    assert torch.equal(first, epoch(loader)[1])


def test_the_epoch_is_read_at_the_first_next(images):
    loader = Loader(*images, batch_size=N)
    batches = iter(loader)
    loader.set_epoch(5)
    assert torch.equal(next(batches).y, epoch_order(N, 0, 5))


@pytest.mark.parametrize("augment", [None, CropFlip(2), Affine()])
def test_an_epoch_goes_on_in_the_middle_as_it_would_have(images, augment):
    loader = Loader(*images, batch_size=16, augment=augment)
    loader.set_epoch(3)
    whole = list(loader)
    loader.set_epoch(3, start=2)
    rest = list(loader)
    assert len(rest) == 2
    for expected, got in zip(whole[2:], rest, strict=True):
        assert torch.equal(expected.x, got.x)
        assert torch.equal(expected.y, got.y)
    loader.set_epoch(3, start=4)
    assert list(loader) == []


def test_augmentation_is_a_function_of_seed_and_epoch_alone(images):
    same = images[0][:1].expand(N, -1, -1, -1), images[1]  # so that the order makes no difference
    loader = Loader(*same, batch_size=16, augment=Affine())
    first = epoch(loader)[0]
    assert torch.equal(first, epoch(loader)[0])
    # grid_sample may round differently in batches of another size
    torch.testing.assert_close(first, epoch(Loader(*same, batch_size=7, augment=Affine()))[0])
    assert len(first.unique(dim=0)) == N
    loader.set_epoch(1)
    assert not torch.isclose(first, epoch(loader)[0]).all(dim=(1, 2, 3)).any()
    other_seed = Loader(*same, batch_size=16, augment=Affine(), seed=1)
    assert not torch.isclose(first, epoch(other_seed)[0]).all(dim=(1, 2, 3)).any()


def test_tangents_computed_once_follow_the_images(images):
    x, y = images
    tangents = Tangents((3, 6, 5))
    once = Loader(x, y, batch_size=16, tangents=tangents.of_set(x, chunk=7))
    each = Loader(x, y, batch_size=16, tangents=tangents)
    for first, second in zip(once, each, strict=True):
        assert first.tangents.shape == (len(first.x), 5, 3, 6, 5)
        torch.testing.assert_close(first.tangents, second.tangents)


def test_tangents_of_each_batch_follow_the_augmented_images(images):
    tangents = Tangents((3, 6, 5))
    for batch in Loader(*images, batch_size=16, augment=CropFlip(2), tangents=tangents):
        assert torch.equal(batch.tangents, tangents(batch.x))


def test_augmentation_with_tangents_computed_once_is_refused(images):
    once = Tangents((3, 6, 5)).of_set(images[0])
    with pytest.raises(ConfigError, match="do not follow augmented images"):
        Loader(*images, batch_size=16, augment=CropFlip(), tangents=once)


@pytest.mark.parametrize("batch_size", [0, -1, N + 1])
def test_a_batch_is_neither_empty_nor_larger_than_the_set(images, batch_size):
    with pytest.raises(ConfigError, match=f"batch_size={batch_size} must lie between 1 and the 50"):
        Loader(*images, batch_size=batch_size)


def test_only_bytes_or_floats_with_a_label_each_are_loaded(images):
    x, y = images
    with pytest.raises(ValueError, match="must be uint8"):
        Loader(x.double(), y, batch_size=4)
    with pytest.raises(ValueError, match="as long as y"):
        Loader(x, y[:-1], batch_size=4)


def test_the_global_generator_is_left_alone(images):
    before = torch.get_rng_state()
    epoch(Loader(*images, batch_size=16, augment=Affine()))
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.gpu
@pytest.mark.parametrize("augment", [None, CropFlip(2), Affine()])
def test_batches_are_made_on_the_gpu_in_the_order_of_the_cpu(images, augment):
    loader = Loader(
        *images, batch_size=16, device="cuda", augment=augment, tangents=Tangents((3, 6, 5), device="cuda")
    )
    assert all(part.is_cuda for batch in loader for part in batch)
    first, second = epoch(loader), epoch(loader)
    assert torch.equal(first[1].cpu(), epoch_order(N, 0, 0))
    assert torch.equal(first[0], second[0])
    if augment is None:
        assert torch.equal(first[0].cpu(), epoch(Loader(*images, batch_size=16))[0])
