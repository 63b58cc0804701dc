import dataclasses

import pytest
import torch

from jacexp.data import ImageSet, split
from jacexp.errors import ConfigError

N = 200


@pytest.fixture
def images():
    """A set in which an image's pixels tell its row: row // 100 and row % 100."""
    rows = torch.arange(N)
    x = torch.stack([rows // 100, rows % 100], dim=1).byte().view(N, 1, 1, 2)
    return ImageSet("made", x, rows % 10, 255 - x[:50], rows[:50] % 10, 10, {"files": []})


def rows_of(x):
    return (x.view(-1, 2).long() * torch.tensor([100, 1])).sum(1).tolist()


def check_labels(made):
    assert [row % 10 for row in rows_of(made.x_train)] == made.y_train.tolist()
    if not made.val_is_test:
        assert [row % 10 for row in rows_of(made.x_val)] == made.y_val.tolist()


def test_without_a_subset_a_tenth_is_held_out_the_same_for_every_seed(images):
    first, second = split(images, seed=0), split(images, seed=1)
    check_labels(first)
    assert len(first.x_val) == 20
    assert sorted(rows_of(first.x_train) + rows_of(first.x_val)) == list(range(N))
    assert rows_of(first.x_val) == rows_of(second.x_val)
    assert rows_of(first.x_val) != rows_of(split(images, seed=0, holdout_seed=1).x_val)
    assert first.source == {
        "files": [],
        "split": {
            "n_train": 180,
            "n_val": 20,
            "validation": "20 of 200 training images, the same for every seed",
        },
    }


def test_a_subset_is_drawn_with_the_seed_and_validated_outside_of_it(images):
    made = [split(images, seed=seed, subset=100, holdout=60) for seed in (0, 0, 1)]
    check_labels(made[0])
    assert (len(made[0].x_train), len(made[0].x_val)) == (100, 60)
    assert len({*rows_of(made[0].x_train), *rows_of(made[0].x_val)}) == 160
    assert rows_of(made[0].x_train) == rows_of(made[1].x_train)
    assert set(rows_of(made[0].x_train)) != set(rows_of(made[2].x_train))


def test_the_draws_of_subsets_and_of_what_is_held_out_are_those_of_stored_runs():
    """Two streams of their own: with others, a stored validation loss would be of other images."""
    x = torch.arange(20, dtype=torch.uint8).view(20, 1, 1, 1)
    y = torch.arange(20) % 2
    set_of_20 = ImageSet("made", x, y, x[:2], y[:2], 2, {})
    held_out = split(set_of_20, seed=3, holdout=4).x_val
    subset = split(set_of_20, seed=3, subset=4).x_train
    assert held_out.flatten().tolist() == [0, 3, 16, 6]
    assert subset.flatten().tolist() == [10, 13, 16, 8]


def test_subsets_of_a_seed_are_nested(images):
    small, large = (rows_of(split(images, seed=3, subset=n).x_train) for n in (10, 150))
    assert large[:10] == small


@pytest.mark.parametrize(("subset", "n_train", "n_val"), [(150, 150, 50), (199, 199, 1), (200, 180, 20)])
def test_few_images_outside_the_subset_are_all_taken_and_none_is_a_tenth_held_out(
    images, subset, n_train, n_val
):
    made = split(images, seed=0, subset=subset, holdout=10_000)
    assert (len(made.x_train), len(made.x_val)) == (n_train, n_val)
    assert not set(rows_of(made.x_train)) & set(rows_of(made.x_val))
    assert str(n_val) in made.source["split"]["validation"]


@pytest.mark.parametrize("subset", [None, 30, N])
def test_the_papers_way_trains_on_all_and_validates_on_the_test_set(images, subset):
    made = split(images, seed=0, subset=subset, select="paper")
    check_labels(made)
    assert len(set(rows_of(made.x_train))) == (subset or N)
    assert made.val_is_test
    assert made.x_val is made.x_test
    assert made.y_val is made.y_test
    assert made.source["split"]["validation"] == "the test set"


def test_both_ways_train_on_the_same_subset(images):
    paper, holdout = (split(images, seed=5, subset=30, select=way) for way in ("paper", "holdout"))
    assert rows_of(paper.x_train) == rows_of(holdout.x_train)
    assert not holdout.val_is_test


@pytest.mark.parametrize("subset", [None, 50])
def test_the_test_set_changes_nothing_but_itself(images, subset):
    order = torch.randperm(50, generator=torch.Generator().manual_seed(0))
    permuted = dataclasses.replace(images, x_test=images.x_test[order], y_test=images.y_test[order])
    first, second = (split(given, seed=2, subset=subset) for given in (images, permuted))
    for part in ("x_train", "y_train", "x_val", "y_val"):
        assert torch.equal(getattr(first, part), getattr(second, part))
    assert torch.equal(first.x_test[order], second.x_test)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"subset": N + 1}, "subset=201 must lie between 1 and the 200 training images of made"),
        ({"subset": 0}, "subset=0 must"),
        ({"select": "test"}, "select=test must be holdout or paper"),
        ({"holdout": 0}, "holdout=0 must be"),
        ({"holdout": -0.1}, "holdout=-0.1 must be"),
        ({"holdout": 1.5}, "holdout=1.5 must be a fraction below 1 or a whole number"),
        ({"holdout": float("nan")}, "holdout=nan must be"),
        ({"holdout": float("inf")}, "holdout=inf must be"),
        ({"holdout": 200}, "holdout=200 of 200 training images leaves none to train on"),
        ({"holdout": 0.999}, "leaves none to train on"),
        ({"holdout": 0.001}, "holdout=0.001 of 200 training images is no image at all"),
        ({"holdout": 0.001, "subset": 5}, "is no image at all"),
    ],
)
def test_an_impossible_split_is_an_error(images, arguments, message):
    with pytest.raises(ConfigError, match=message):
        split(images, seed=0, **arguments)
