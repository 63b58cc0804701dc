import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from jacexp.evaluate import boundary, check_samples
from jacexp.evaluate.draws import normal, rows
from tests.evaluate.nets import N_CLASSES, convnet, halves, images, linear, margins, random_linear

TOLERANCE = 1e-3
SEARCH = {"max_radius": 8.0, "n_spheres": 10, "tolerance": TOLERANCE}


def directions(n: int, n_packets: int, shape=(1, 8, 8), seed: int = 0) -> torch.Tensor:
    """Draw the directions of the evaluation again, (n, 32·n_packets, pixels)."""
    packets = [rows(normal, 0, n, (32, *shape), seed, "boundary", packet) for packet in range(n_packets)]
    d = torch.cat(packets, dim=1).flatten(2).double()
    return d / d.norm(dim=2, keepdim=True)


def linear_distances(net, x, y, d) -> torch.Tensor:
    """Return the smallest (z_y − z_c)/((w_c − w_y)·d_k) > 0 over k and c: the first change, in closed form."""
    weight = net.body[1].weight.detach() / net.normalize.std.item()
    logits = net(x.double() / 255).detach()
    gap = logits.gather(1, y[:, None]) - logits
    slope = torch.einsum("ncp,nkp->nkc", weight - weight[y][:, None], d)
    radius = gap[:, None] / slope
    return radius.masked_fill((slope <= 0) | (gap[:, None] <= 0), math.inf).flatten(1).amin(dim=1)


@pytest.mark.parametrize("std", [1.0, 0.25])
def test_distance_to_a_linear_boundary_along_the_directions(std):
    net, (x, _) = random_linear(64, N_CLASSES, std=std), images(70)
    y = net(x.double() / 255).argmax(dim=1)
    _, samples = boundary(check_samples(net, x, y), n_directions=64, **(SEARCH | {"max_radius": 1.0}))
    distance = torch.tensor(samples["distance"].to_numpy())
    expected = linear_distances(net, x, y, directions(70, 2))
    found = expected <= 1
    assert 0.5 < found.double().mean() < 1
    excess = (distance - expected)[found]
    # Directions are drawn in float32 and used in float64 here and there alike.
    assert excess.min() >= 0
    assert excess.max() <= TOLERANCE
    assert distance[~found].isinf().all()
    weight = net.body[1].weight.detach() / std
    steepest = torch.cdist(weight, weight).amax()
    assert (distance >= margins(net, x, y) / steepest).all()


def test_a_sample_has_its_directions_whichever_others_are_searched():
    net, (x, _) = random_linear(64, N_CLASSES), images(70)
    y = net(x.double() / 255).argmax(dim=1)
    labels = torch.where(torch.arange(70) % 3 == 0, (y + 1) % N_CLASSES, y)
    every, some = (
        boundary(check_samples(net, x, of), n_directions=33, **SEARCH)[1]["distance"] for of in (y, labels)
    )
    assert some.isna().tolist() == (labels != y).tolist()
    assert some.dropna().equals(every[some.notna()])


def test_distance_is_the_margin_over_the_norm_where_the_normal_is_a_direction():
    """An image of one pixel has two directions, and the normal is one of them."""
    w, bias = torch.tensor([2.5], dtype=torch.float64), -1.0
    net = halves(w, bias)
    x = torch.arange(0, 250, 5, dtype=torch.uint8).view(-1, 1, 1, 1)
    margin = x.double().flatten() / 255 * w + bias
    y = (margin > 0).long()
    points, samples = boundary(
        check_samples(net, x, y), n_directions=64, max_radius=1.0, n_spheres=4, tolerance=1e-6
    )
    excess = samples["distance"].to_numpy() - (margin.abs() / w.norm()).numpy()
    assert (excess >= -1e-12).all()
    assert (excess <= 1e-6).all()
    last = points[points["variable"] == "n_directions"].iloc[-1]
    assert last["mean"] == pytest.approx(samples["distance"].mean())
    assert last["check"] == ""


def test_normalised_spheres_are_the_same_spheres_in_other_units():
    net, (x, _) = random_linear(64, N_CLASSES, std=0.25), images(60)
    y = net(x.double() / 255).argmax(dim=1)
    settings = {"n_directions": 32, "n_spheres": 8}
    _, pixel = boundary(check_samples(net, x, y), max_radius=8.0, tolerance=0.01, **settings)
    _, units = boundary(
        check_samples(net, x, y), max_radius=32.0, tolerance=0.04, space="normalised", **settings
    )
    np.testing.assert_allclose(units["distance"], 4 * pixel["distance"])


def test_more_directions_only_shrink_the_distance():
    net, (x, y) = convnet(), images(120, seed=1)
    columns = [
        boundary(check_samples(net, x, y), n_directions=n, **SEARCH)[1]["distance"]
        for n in (1, 20, 32, 50, 96)
    ]
    for few, many in pairwise(columns):
        searched = ~few.isna()
        assert (many[searched] <= few[searched]).all()
    assert (columns[-1] < columns[0]).any()


def test_rows_of_fewer_directions_are_what_fewer_directions_give():
    net, (x, y) = convnet(), images(120, seed=1)
    points, _ = boundary(check_samples(net, x, y), n_directions=100, **SEARCH)
    table = points[points["variable"] == "n_directions"].set_index("value")
    assert table.index.tolist() == [32, 64, 100]
    for n in (32, 64):
        alone, _ = boundary(check_samples(net, x, y), n_directions=n, **SEARCH)
        assert alone[alone["variable"] == "n_directions"]["mean"].iloc[-1] == table["mean"][n]


@pytest.mark.parametrize("tolerance", [TOLERANCE, 1.0])
def test_tables_agree_with_each_other(tolerance):
    """Where the tolerance is wider than the spheres are apart, each distance is the radius of a sphere."""
    net, (x, y) = convnet(), images(120, seed=1)
    correct = net(x.double() / 255).argmax(dim=1) == y
    points, samples = boundary(
        check_samples(net, x, y), n_directions=32, **(SEARCH | {"max_radius": 0.5, "tolerance": tolerance})
    )
    assert samples["sample"].tolist() == list(range(120))
    assert samples["correct"].tolist() == correct.tolist()
    assert samples["distance"].isna().tolist() == (~correct).tolist()
    assert samples["found"].equals(samples["distance"] <= 0.5)
    radius = points[points["variable"] == "radius"]
    assert radius["value"].tolist() == pytest.approx([0.05 * i for i in range(1, 11)])
    assert set(radius["n"]) == {int(correct.sum())}
    for value, n_correct in zip(radius["value"], radius["n_correct"], strict=True):
        assert n_correct == (samples["distance"] > value).sum()
    unfound = int((samples["correct"] & ~samples["found"]).sum())
    assert unfound > 0
    assert points["check"].iloc[-1] == f"unfound={unfound}"


def test_clipping_keeps_points_inside_the_box():
    """A boundary outside [0, 1] is met without clipping only."""
    x = torch.full((10, 1, 1, 1), 0.5)
    y = torch.zeros(10, dtype=torch.long)
    net = linear(torch.tensor([[0.0], [1.0]]), torch.tensor([1.5, 0.0]))
    settings = {"n_directions": 32, "max_radius": 2.0, "n_spheres": 4, "tolerance": 1e-3}
    free, clipped = (boundary(check_samples(net, x, y), clip=clip, **settings)[1] for clip in (False, True))
    assert free["distance"].tolist() == pytest.approx([1.0] * 10, abs=1e-3)
    assert clipped["distance"].tolist() == [math.inf] * 10


def test_a_mean_that_still_shrinks_raises_a_flag():
    net, (x, _) = random_linear(64, N_CLASSES), images(60)
    y = net(x.double() / 255).argmax(dim=1)
    few, _ = boundary(
        check_samples(net, x, y), n_directions=64, max_radius=40.0, n_spheres=40, tolerance=0.01
    )
    means = few[few["variable"] == "n_directions"]["mean"].tolist()
    assert means[1] < 0.95 * means[0]
    assert few["check"].iloc[-1] == "few_directions"


def test_no_correct_sample_gives_empty_statistics():
    net, (x, _) = random_linear(64, N_CLASSES), images(20)
    wrong = (net(x.double() / 255).argmax(dim=1) + 1) % N_CLASSES
    points, samples = boundary(check_samples(net, x, wrong), n_directions=40)
    assert not samples["correct"].any()
    assert set(points["n"]) == {0}
    assert points["mean"].isna().all()


def test_a_mean_that_shrinks_by_less_than_a_twentieth_raises_none():
    net, (x, _) = random_linear(4, N_CLASSES), images(60, (1, 2, 2))
    y = net(x.double() / 255).argmax(dim=1)
    points, _ = boundary(check_samples(net, x, y), n_directions=256, **SEARCH)
    *_, half, whole = points[points["variable"] == "n_directions"]["mean"]
    assert 0.95 * half < whole < half
    assert "few_directions" not in points["check"].iloc[-1]
