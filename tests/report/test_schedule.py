"""The order of the missing runs: searches around the papers' values first, what is decided soonest before the rest."""

import re
from math import prod

import pytest

from jacexp.report.paper import EXPERIMENTS, TABLE1
from jacexp.report.schedule import schedule
from jacexp.report.scorecard import scores
from jacexp.report.select import Selection
from jacexp.report.sweeps import sweeps

MNIST, CIFAR_10K = EXPERIMENTS["P1"]
_, KMNIST, FMNIST = EXPERIMENTS["P2"]


def scheduled(selection):
    return schedule(selection, scores(selection))


def values(command, key):
    found = re.search(rf"{re.escape(key)}=(\S+)", command)
    return found.group(1).split(",") if found else []


def test_every_missing_run_comes_once(tables, read):
    for seed in range(3):
        tables.run(FMNIST, "spec", seed, lam=0.01, lr=0.01, batch_size=32)
    selection = read()
    batches = scheduled(selection)
    assert sum(b.n_missing for b in batches) == sum(s.n_missing for s in sweeps(selection))
    assert len({b.command for b in batches}) == len(batches)
    keys = ("seed", "method.lam", "method.beta", "method.epsilon", "train.lr", "train.batch_size")
    for batch in batches:
        assert prod(len(values(batch.command, key)) or 1 for key in keys) == batch.n_missing


@pytest.mark.parametrize("method", [m for m in TABLE1["P1"]["mnist"] if m != "none"])
@pytest.mark.parametrize("e", [MNIST, CIFAR_10K])
def test_a_search_begins_around_the_papers_strength_with_two_seeds(read, e, method):
    first = next(b for b in scheduled(read()) if (b.dataset, b.method) == (e.dataset, method))
    strengths = [
        float(v) for v in values(first.command, "method.beta") + values(first.command, "method.epsilon")
    ]
    papers = TABLE1["P1"][e.dataset][method].strength
    assert len(strengths) == 4
    assert papers in strengths
    assert max(strengths) > papers
    assert min(strengths) < papers or papers == 0.0003  # the grid begins there
    assert values(first.command, "seed") == ["0", "1"]


def test_what_a_search_selects_gets_its_other_seeds_next_and_the_rest_of_the_grid_comes_last(tables, read):
    for lam in (1e-4, 1e-3, 1e-2, 1e-1):
        for seed in range(2):
            tables.run(
                FMNIST, "spec", seed, lam=lam, lr=0.01, batch_size=32, val=0.95 if lam == 1e-3 else 0.9
            )
    mine = [b for b in scheduled(read()) if (b.dataset, b.method) == ("fmnist", "spec")]
    assert "train.lr=0.01 train.batch_size=32 method.lam=0.001 seed=2,3,4 -m" in mine[0].command
    assert sum(b.n_missing for b in mine) == 80 - 8


def test_what_is_decided_soonest_comes_first_and_what_takes_unknown_hours_last(tables, read):
    for e, seconds in ((FMNIST, 3600.0), (KMNIST, 360.0)):
        for method in ("spec", "frob", "spec_bound", "l2", "none"):
            lam = "" if method == "none" else 0.01
            tables.run(e, method, 0, lam=lam, lr=0.01, batch_size=32, train_s=seconds)
    batches = scheduled(read())
    order = list(dict.fromkeys((b.dataset, b.table) for b in batches))
    assert order[:2] == [("kmnist", "p2-table1"), ("fmnist", "p2-table1")]
    assert batches[0].hours == pytest.approx(0.1 * batches[0].n_missing)
    assert all(b.hours is None for b in batches if b.dataset == "mnist")


def test_a_row_that_is_decided_asks_for_nothing(ideal):
    assert scheduled(Selection(ideal, "holdout")) == []


def test_sizes_are_trained_as_figure_4_has_them(read):
    mine = [b.command for b in scheduled(read()) if b.table == "p1-figure4" and b.method == "pred_ibp"]
    assert any("data.subset=1000 train.epochs=100 -m" in c for c in mine)
    assert any("data.subset=60000 train.epochs=150 data.augment=affine -m" in c for c in mine)


def test_plain_training_on_cifar_is_told_its_protocol(read):
    mine = [b.command for b in scheduled(read()) if (b.dataset, b.method) == ("cifar10", "none")]
    assert {("protocol=ibp" in c) for c in mine} == {True, False}
