from importlib import import_module

import pytest
import torch
import torchattacks
from torch import Tensor

from jacexp.evaluate import accuracy, check_samples, pgd, tpgd
from tests.evaluate.nets import N_CLASSES, convnet, halves, images, masked, random_linear

STEPS = [0, 1, 2, 5, 10]
DELTA, ETA = 0.2, 0.03


def small(dtype: torch.dtype = torch.float32) -> tuple[torch.nn.Module, Tensor, Tensor]:
    x, y = images(150, seed=1)
    return convnet(dtype), x.to(dtype) / 255, y


def library_start(kind: str, x: Tensor, seed: int) -> Tensor:
    """Draw the noise that torchattacks adds to the images after torch.manual_seed(seed)."""
    generator = torch.Generator().manual_seed(seed)
    if kind == "pgd":
        return torch.empty_like(x).uniform_(-DELTA, DELTA, generator=generator)
    return torch.randn(x.shape, generator=generator)


def library_correct(kind: str, net: torch.nn.Module, x: Tensor, y: Tensor, steps: int) -> Tensor:
    """Attack with torchattacks and say which samples stay right."""
    make = torchattacks.PGD if kind == "pgd" else torchattacks.TPGD
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        attacked = make(net, eps=DELTA, alpha=ETA, steps=steps)(x, y)
    return net(attacked).argmax(dim=1) == y


@pytest.fixture
def same_start(monkeypatch):
    """Let our attacks begin with the library's noise, in one batch."""
    module = import_module("jacexp.evaluate.pgd")  # the package has a function of that name
    monkeypatch.setattr(module, "uniform_like", lambda batch, *_: library_start("pgd", batch.x, seed=3))
    monkeypatch.setattr(module, "normal_like", lambda batch, *_: library_start("tpgd", batch.x, seed=3))


@pytest.mark.parametrize("kind", ["pgd", "tpgd"])
@pytest.mark.usefixtures("same_start")
def test_one_trajectory_has_the_counts_of_torchattacks_at_every_number_of_steps(kind):
    net, x, y = small()
    ours = {"pgd": pgd, "tpgd": tpgd}[kind](
        check_samples(net, x, y, batch_size=len(x)), steps=STEPS, delta=DELTA, eta=ETA
    )
    theirs = [int(library_correct(kind, net, x, y, steps).sum()) for steps in STEPS[1:]]
    assert ours["n_correct"].tolist() == [accuracy(check_samples(net, x, y))["n_correct"][0], *theirs]
    assert len(set(ours["n_correct"])) > 3


@pytest.mark.parametrize("kind", ["pgd", "tpgd"])
@pytest.mark.usefixtures("same_start")
def test_worst_tally_counts_samples_that_no_number_of_steps_has_broken(kind):
    net, x, y = small()
    evaluation = {"pgd": pgd, "tpgd": tpgd}[kind]
    ours = evaluation(
        check_samples(net, x, y, batch_size=len(x)), steps=STEPS, delta=DELTA, eta=ETA, tally="worst"
    )
    surviving, expected = net(x).argmax(dim=1) == y, []
    for steps in range(max(STEPS) + 1):
        expected.append(int(surviving.sum()))
        surviving = surviving & library_correct(kind, net, x, y, steps)
        if steps > 0:
            expected[steps] = int(surviving.sum())
    assert ours["n_correct"].tolist() == [expected[steps] for steps in STEPS]


def test_pgd_reaches_the_exact_optimum_on_a_linear_classifier():
    """The smallest margin in the ball and the box has each pixel at clip(x ∓ delta·sign w, 0, 1)."""
    x, _ = images(400)
    pixels = x.double() / 255
    w = torch.randn(64, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    net = halves(w, -w.sum().item() / 2)
    y = (net(pixels)[:, 1] > 0).long()
    towards = (1 - 2 * y.double())[:, None] * w.sign()
    worst = (pixels + 0.05 * towards.view_as(pixels)).clamp(0, 1)
    expected = int((net(worst).argmax(dim=1) == y).sum())
    assert 0 < expected < 400
    for tally in ("final", "worst"):
        # From anywhere in the ball, 2·delta/eta steps reach its other side.
        table = pgd(check_samples(net, x, y), steps=[0, 10], delta=0.05, eta=0.01, tally=tally)
        assert table["n_correct"].tolist() == [400, expected]


@pytest.mark.parametrize("evaluation", [pgd, tpgd])
def test_asking_for_other_numbers_of_steps_changes_no_count(evaluation):
    net, x, y = small(torch.float64)
    all_of_them = evaluation(check_samples(net, x, y), steps=[5, 0, 1, 10], delta=DELTA, eta=ETA).set_index(
        "value"
    )["n_correct"]
    assert evaluation(check_samples(net, x, y), steps=[5], delta=DELTA, eta=ETA)["n_correct"].tolist() == [
        all_of_them[5]
    ]
    assert all_of_them.index.tolist() == [5, 0, 1, 10]


@pytest.mark.parametrize("evaluation", [pgd, tpgd])
def test_n_samples_takes_the_first(evaluation):
    net, (x, y) = convnet(), images(12)
    first = evaluation(check_samples(net, x, y, n_samples=7), steps=[0, 3])
    alone = evaluation(check_samples(net, x[:7], y[:7]), steps=[0, 3])
    assert first["n"].tolist() == [7, 7]
    assert first["n_correct"].tolist() == alone["n_correct"].tolist()


def test_tpgd_never_sees_the_labels():
    net, x, y = small(torch.float64)
    right = tpgd(check_samples(net, x, y), steps=STEPS, delta=DELTA, eta=ETA)["n_correct"]
    counts = [
        tpgd(check_samples(net, x, torch.full_like(y, c)), steps=STEPS, delta=DELTA, eta=ETA)
        for c in range(N_CLASSES)
    ]
    assert len(right) == len(STEPS)
    # Each attacked image has one class, so the counts with every label in turn add up to all images.
    assert sum(table["n_correct"] for table in counts).tolist() == [len(x)] * len(STEPS)


@pytest.mark.parametrize("evaluation", [pgd, tpgd])
def test_masked_gradients_raise_flags(evaluation):
    net, (x, _) = masked(), images(300)
    y = net(x.double() / 255).argmax(dim=1)
    table = evaluation(check_samples(net, x, y), steps=[0, 1, 8], delta=0.4, eta=0.05)
    vanished = "zero_gradient=300"
    # PGD stays where its noise has put it, TPGD all but at the image; only a start as good as the noise is not weaker.
    weaker = "" if evaluation is pgd else "weaker_than_noise;"
    assert table["check"].tolist() == ["", vanished, weaker + vanished]


def test_saturated_float32_losses_raise_a_flag():
    net, (x, _) = random_linear(64, N_CLASSES).float(), images(100)
    net.body[1].weight.data *= 100
    net.body[1].bias.data *= 100
    y = net(x / 255).argmax(dim=1)
    assert pgd(check_samples(net, x, y), steps=[1], delta=0.01)["check"][0].startswith("zero_gradient=")


def test_an_honest_attack_raises_no_flag():
    net, (x, _) = random_linear(64, N_CLASSES), images(300)
    y = net(x.double() / 255).argmax(dim=1)
    for evaluation in (pgd, tpgd):
        table = evaluation(check_samples(net, x, y), steps=[0, 1, 10], delta=0.05, eta=0.01)
        assert table["check"].tolist() == ["", "", ""]
        assert table["n_correct"][2] < table["n_correct"][0]
