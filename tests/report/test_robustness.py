import pytest

from jacexp.report.paper import EXPERIMENTS
from jacexp.report.robustness import document

FMNIST = EXPERIMENTS["P2"][2]


@pytest.fixture
def sections(read):
    return lambda: document(read()).sections


def test_the_accuracy_at_the_strongest_point_is_that_worked_out_by_hand(tables, sections):
    for seed, share in enumerate((0.5, 0.6)):
        run = tables.run(FMNIST, "spec", seed, lam=0.1)
        tables.curve(run, "pgd", {0: 0.9, 10: 0.7, 40: share})
        tables.curve(run, "autoattack", {0.125: 0.25})
    tables.run(FMNIST, "none", 0)
    tables.curve(tables.run(FMNIST, "none", 1), "pgd", {40: 0.1}, check="weaker_than_noise")
    (only,) = sections()
    assert only.headings == ("method", "`pgd`, steps = 40", "`autoattack`, ε = 0.125")
    assert only.rows == (
        ("`spec`", "55.00 ± 7.07 (2)", "25.00 ± 0.00 (2)"),
        ("`none`", "10.00 (1) †", "not run"),
    )
    assert "`pgd`: pixels" in only.notes
    assert "`pgd`: self-check of none: weaker_than_noise (1 of 1 points)" in only.notes


def test_without_curves_there_is_no_section(tables, sections):
    tables.run(FMNIST, "none", 0)
    assert sections() == ()


def test_an_experiment_of_ones_own_has_its_own_section(tables, sections):
    tables.curve(tables.run(FMNIST, "none", 0, dataset="mine"), "pgd", {0: 0.9, 40: 0.5})
    (only,) = sections()
    assert only.title == "mine, lenet, 50 epochs"
