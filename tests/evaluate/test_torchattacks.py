"""Square and AutoAttack, against the library itself."""

from functools import partial

import pytest
import torch
import torchattacks

from jacexp.evaluate import autoattack, autoattack_quick, check_samples, pgd, square
from jacexp.evaluate.frozen import EvaluationError
from jacexp.evaluate.torchattacks import correct_under
from jacexp.random import make_generator
from tests.evaluate.nets import convnet, images, random_linear

DELTA = 0.1


def small():
    x, y = images(90, seed=1)
    return convnet(torch.float32), x / 255, y


def library_count(make, net, x, y, stream, chunk):
    """Count what stays right when the library attacks chunk after chunk, each with the seed that ours has."""
    correct = 0
    with torch.random.fork_rng(devices=[]):
        for number, (part, labels) in enumerate(zip(x.split(chunk), y.split(chunk), strict=True)):
            attack = make(seed=make_generator(0, stream, number).initial_seed())
            correct += int((net(attack(part, labels)).argmax(dim=1) == labels).sum())
    return correct


def test_each_chunk_has_a_seed_of_its_own():
    net, x, y = small()
    seeds = []

    def attack(library, seen, seed):
        seeds.append(seed)
        return library.VANILA(seen)

    correct_under(check_samples(net, x, y), attack, chunk=40, seed=7, stream="square")
    assert seeds == [make_generator(7, "square", number).initial_seed() for number in range(3)]
    assert len(set(seeds)) == 3


def test_square_has_the_counts_of_torchattacks():
    net, x, y = small()
    queries = [3, 30, 100]
    attacks = [partial(torchattacks.Square, net, eps=DELTA, n_queries=n) for n in queries]
    expected = [library_count(attack, net, x, y, "square", 40) for attack in attacks]
    ours = square(check_samples(net, x, y), queries=queries, delta=DELTA, chunk=40)
    assert ours["n_correct"].tolist() == expected
    assert expected[0] > expected[1] > expected[2]


def test_square_is_bounded_by_the_optimum_on_a_linear_classifier():
    net, (x, _) = random_linear(64, 4), images(60)
    y = net(x.double() / 255).argmax(dim=1)
    counts = square(check_samples(net, x, y), queries=[0, 10, 300], delta=0.05)["n_correct"].tolist()
    optimum = pgd(check_samples(net, x, y), steps=[20], delta=0.05, eta=0.01)["n_correct"][0]
    assert counts[0] == 60 > counts[1] >= counts[2] >= optimum


def test_the_quick_autoattack_has_the_count_of_torchattacks():
    net, x, y = small()
    standard = partial(torchattacks.AutoAttack, net, eps=DELTA, n_classes=4)
    expected = library_count(standard, net, x, y, "autoattack", 40)
    ours = autoattack_quick(check_samples(net, x, y), delta=DELTA, chunk=40)
    assert ours["n_correct"].tolist() == [expected]
    assert expected <= pgd(check_samples(net, x, y), steps=[40], delta=DELTA, eta=0.01)["n_correct"][0]


def settings_of(attack) -> dict:
    """Return what an attack of the library was made with."""
    return {
        key: value
        for key, value in vars(attack).items()
        if key not in ("model", "model_name", "seed", "_attacks")
    }


@pytest.mark.parametrize(("attack", "steps"), [(autoattack, 100), (autoattack_quick, 10)])
def test_autoattack_is_made_of_the_librarys_standard_attacks(attack, steps, monkeypatch):
    net, x, y = small()
    standard = torchattacks.AutoAttack(net, eps=DELTA, n_classes=4)._autoattack.attacks
    ours = []

    class Listing(torchattacks.MultiAttack):
        def __init__(self, attacks):
            ours.extend(settings_of(attack) for attack in attacks)
            super().__init__(attacks)

    monkeypatch.setattr(torchattacks, "MultiAttack", Listing)
    attack(check_samples(net, x[:10], y[:10]), delta=DELTA)
    expected = [settings_of(attack) for attack in standard]
    assert all("steps" in settings for settings in expected[:3])
    assert ours == [settings | {"steps": steps} if "steps" in settings else settings for settings in expected]


def test_n_samples_takes_the_first():
    net, x, y = small()
    first = square(check_samples(net, x, y, n_samples=40), queries=[0, 10], delta=DELTA, chunk=40)
    assert first["n"].tolist() == [40, 40]
    alone = square(check_samples(net, x[:40], y[:40]), queries=[0, 10], delta=DELTA, chunk=40)
    assert first["n_correct"].tolist() == alone["n_correct"].tolist()


def test_autoattack_needs_four_classes():
    net, (x, y) = random_linear(64, 3), images(10)
    with pytest.raises(EvaluationError, match="at least 4 classes, and the network has 3"):
        autoattack(check_samples(net, x, y.clamp(max=2)))
