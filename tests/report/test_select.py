import json
from dataclasses import replace

import numpy as np
import pytest

from jacexp.errors import StoreError
from jacexp.report.paper import EXPERIMENTS, METHODS, Experiment, size_experiment
from jacexp.report.select import Selection, describe, variant_of

MNIST, CIFAR_10K = EXPERIMENTS["P1"]
CIFAR, KMNIST, FMNIST = EXPERIMENTS["P2"]


def test_p2_takes_the_lowest_mean_validation_loss(tables, read):
    for lam, losses in ((0.01, (0.1, 0.9)), (0.1, (0.4, 0.5)), (0.001, (0.6, 0.6))):
        for seed, loss in enumerate(losses):
            tables.run(FMNIST, "spec", seed, lam=lam, val_loss=loss, val=0.9 if lam == 0.001 else 0.8)
    best = read().choice(FMNIST, "spec").best
    assert (best.strength, best.loss, best.seeds) == (0.1, pytest.approx(0.45), (0, 1))


def test_p1_takes_the_lowest_mean_validation_error(tables, read):
    for beta, share, loss in ((0.01, 0.98, 0.5), (0.1, 0.99, 0.6), (1, 0.97, 0.1)):
        for seed in range(2):
            tables.run(MNIST, "pred_ibp", seed, beta=beta, val=share, val_loss=loss)
    best = read().choice(MNIST, "pred_ibp").best
    assert (best.strength, best.error) == (0.1, pytest.approx(0.01))


def test_ties_go_to_the_weaker_setting(tables, read):
    for beta in (0.1, 0.01, 1):
        tables.run(MNIST, "pred_ibp", 0, beta=beta, val=0.98)
    assert read().choice(MNIST, "pred_ibp").best.strength == 0.01


@pytest.mark.parametrize("how", ["holdout", "paper"])
def test_no_test_column_changes_a_selection(ideal, how):
    store = replace(ideal, runs=ideal.runs.assign(select=how))
    rng = np.random.default_rng(0)
    n = len(store.runs)
    perturbed = store.runs.assign(
        n_test_correct=rng.permutation(store.runs["n_test_correct"]),
        n_test=10**6,
        test_loss=rng.normal(size=n),
    )
    before, after = (Selection(replace(store, runs=runs), how) for runs in (store.runs, perturbed))
    for e in (*EXPERIMENTS["P1"], *EXPERIMENTS["P2"]):
        for method in METHODS[e.paper]:
            chosen = before.choice(e, method).best
            assert chosen is not None
            assert dict(after.choice(e, method).best.values) == dict(chosen.values)


def test_validation_columns_do_change_it(ideal):
    flipped = replace(ideal, runs=ideal.runs.assign(n_val_correct=10_000 - ideal.runs["n_val_correct"]))
    assert Selection(ideal, "holdout").choice(MNIST, "at").best.strength == 0.05
    assert Selection(flipped, "holdout").choice(MNIST, "at").best.strength == 0.0003


@pytest.mark.parametrize("status", ["diverged", "failed"])
def test_a_lost_run_makes_its_setting_infinitely_bad_and_is_named(tables, read, status):
    for seed in range(5):
        tables.run(FMNIST, "spec", seed, lam=0.01, val=0.80)
        if seed == 3:
            tables.lost(FMNIST, "spec", seed, status, lam=0.1)
        else:
            tables.run(FMNIST, "spec", seed, lam=0.1, val=0.99)
    choice = read().choice(FMNIST, "spec")
    assert choice.best.strength == 0.01
    assert any(f"lam = 0.1, lr = 0.01, batch_size = 32: seed 3 {status}" in note for note in choice.notes)


def test_a_lost_setting_does_not_outrank_one_with_fewer_seeds(tables, read):
    for seed in range(3):
        tables.lost(FMNIST, "spec", seed, lam=0.1)
    tables.run(FMNIST, "spec", 0, lam=0.01)
    choice = read().choice(FMNIST, "spec")
    assert choice.best.strength == 0.01
    assert choice.missing_seeds == (1, 2, 3, 4)


def test_where_every_setting_lost_a_run_nothing_is_chosen(tables, read):
    tables.lost(FMNIST, "spec", 0, lam=0.1)
    choice = read().choice(FMNIST, "spec")
    assert choice.best is None
    assert choice.runs.empty


@pytest.mark.parametrize("gone", [{"val_loss": "nan"}, {"val_loss": "inf"}, {"n_val": ""}, {"n_val": 0}])
def test_a_run_without_validation_cannot_be_chosen(tables, read, gone):
    tables.run(FMNIST, "spec", 0, lam=0.1, val=0.99, **gone)
    tables.run(FMNIST, "spec", 0, lam=0.01, val=0.5)
    assert read().choice(FMNIST, "spec").best.strength == 0.01


def test_a_setting_with_fewer_seeds_is_not_considered_and_is_named(tables, read):
    for seed in range(3):
        tables.run(FMNIST, "spec", seed, lam=0.01, val=0.8)
    for seed in range(2):
        tables.run(FMNIST, "spec", seed, lam=0.1, val=0.9)
    choice = read().choice(FMNIST, "spec")
    assert choice.best.strength == 0.01
    assert choice.missing_seeds == (3, 4)
    assert "not considered, with fewer than 3 seeds: lam = 0.1, lr = 0.01, batch_size = 32" in choice.notes
    assert "seeds 3, 4 are missing" in choice.notes
    assert "2 of the 16 settings of the grid were searched" in choice.notes


def test_only_runs_of_the_asked_selection_count(tables, read):
    tables.run(FMNIST, "none", 0, test=0.5, select="paper")
    assert read().choice(FMNIST, "none").best is None
    assert read("paper").choice(FMNIST, "none").best is not None


@pytest.mark.parametrize(
    "other",
    [{"n_epochs": 5}, {"dataset": "kmnist6k"}, {"model": "vgg16_bn"}, {"subset": 500}, {"augment": "affine"}],
)
def test_a_run_of_another_experiment_is_none_of_the_papers(tables, read, other):
    tables.run(KMNIST, "none", 0, **other)
    found = read()
    assert all(not found.choice(e, "none").settings for e in EXPERIMENTS["P2"])
    (own,) = found.others
    assert own.n_seeds is None
    assert found.choice(own, "none").best.seeds == (0,)
    assert found.methods(own) == [("none", "")]


def test_a_subset_as_large_as_the_set_is_the_set(tables, read):
    whole = size_experiment(60_000, augmented=False)
    tables.run(whole, "none", 0, subset=60_000)
    assert read().choice(whole, "none").best.seeds == (0,)


def test_another_switch_is_a_variant_beside_the_method(tables, read):
    tables.run(FMNIST, "spec_bound", 0, lam=0.1, val=0.7)
    tables.run(FMNIST, "spec_bound", 0, lam=0.1, val=0.9, options=json.dumps({"conv": "operator"}))
    found = read()
    assert found.choice(FMNIST, "spec_bound").best.loss == pytest.approx(0.3)
    assert found.methods(FMNIST)[-1] == ("spec_bound", "conv=operator")
    assert found.choice(FMNIST, "spec_bound", "conv=operator").best.loss == pytest.approx(0.1)


def test_runs_from_before_and_after_a_new_switch_are_one_setting(tables, read):
    old, new = {"n_iter": 1, "power": 1}, {"n_iter": 1, "power": 1, "detach": True}
    for seed, options in enumerate((old, new)):
        tables.run(FMNIST, "spec", seed, lam=0.1, options=json.dumps(options))
    (setting,) = read().choice(FMNIST, "spec").settings
    assert setting.seeds == (0, 1)


def test_variants_are_named_by_what_is_not_usual():
    assert variant_of("spec", '{"detach": true, "n_iter": 1, "power": 1}', "last") == ""
    assert (
        variant_of("spec", '{"detach": false, "n_iter": 3, "power": 1}', "last") == "detach=false, n_iter=3"
    )
    assert variant_of("spec", "", "best") == "checkpoint=best"
    assert (
        variant_of("tbp", '{"precompute": false, "tangent_unit": "half_side"}', "last")
        == "beta_schedule=constant, tangent_unit=half_side"
    )
    for broken in ("[1]", "{", "1"):
        with pytest.raises(StoreError, match="not a JSON object"):
            variant_of("spec", broken, "last")


def test_a_setting_is_described_by_its_numbers(tables, read):
    tables.run(FMNIST, "spec", 0, lam=0.0001, lr=0.001, batch_size=16)
    best = read().choice(FMNIST, "spec").best
    assert describe(best) == "lam = 0.0001, lr = 0.001, batch_size = 16"


def test_a_precision_of_its_own_is_part_of_the_description(tables, read):
    tables.run(FMNIST, "none", 0, precision="bf16-mixed")
    best = read().choice(FMNIST, "none").best
    assert describe(best) == "lr = 0.01, batch_size = 32, precision = bf16-mixed"


def test_experiments_are_equal_by_what_was_trained():
    assert Experiment("P2", "fmnist", "lenet", 50) == FMNIST
    assert Experiment("P2", "fmnist", "lenet", 5) != FMNIST
