"""What is missing, run by run, against stores with known holes."""

import pytest

from jacexp.errors import ConfigError
from jacexp.report.grid import lack, missing_runs, n_runs
from jacexp.report.paper import EXPERIMENTS, SIZES, grid, size_experiment
from jacexp.report.sweeps import narrowed, sweeps

MNIST, _ = EXPERIMENTS["P1"]
CIFAR, KMNIST, FMNIST = EXPERIMENTS["P2"]
GRID = [{"lr": lr, "batch_size": size} for lr in (0.01, 0.001) for size in (16, 32)]


def fill(tables, e=FMNIST, method="none", without=(), **others):
    """Store the whole grid of plain training, without some (setting, seed)."""
    for number, values in enumerate(GRID):
        for seed in range(5):
            if (number, seed) not in without:
                tables.run(e, method, seed, **values, **others)


def cell(selection, dataset="fmnist", method="none"):
    (found,) = narrowed(sweeps(selection), table="p2-table1", dataset=dataset, method=method)
    return found


def test_an_empty_store_lacks_every_run_of_both_papers(read):
    planned = sweeps(read())
    assert all(sweep.n_missing == sweep.n_runs for sweep in planned)
    numbers = {t: sum(s.n_runs for s in planned if s.table == t) for t in {s.table for s in planned}}
    # P2: 5 seeds times (4 * 5 + 1) and 2 sets of (4 * 16 + 4); P1: 10 subsets of 1 + 4 * 9 + 2 * 8, on 2 sets;
    # Figure 4: 5 seeds of 8 sizes of 1 + 9 strengths, plain and augmented
    assert numbers == {"p2-table1": 105 + 680, "p1-table1": 2 * 10 * 53, "p1-figure4": 5 * 8 * 10 * 2}


def test_a_complete_cell_lacks_nothing(tables, read):
    fill(tables)
    selection = read()
    assert (cell(selection).n_missing, cell(selection).n_runs) == (0, 20)
    assert lack(selection.choice(FMNIST, "none")) == ""


def test_every_hole_of_the_grid_is_counted(tables, read):
    fill(tables, without={(0, 1), (0, 2), (3, 4)})
    selection = read()
    assert cell(selection).n_missing == 3
    # The setting that stands for the cell is whole: what lacks are runs of those it was to be compared with.
    assert lack(selection.choice(FMNIST, "none")) == "3 runs of settings that are begun"


def test_each_run_is_missing_under_one_name_only(tables, read):
    fill(tables, without={(n, s) for n in (0, 1, 2) for s in range(5)} | {(3, 0), (3, 1)})
    choice = read().choice(FMNIST, "none")
    assert lack(choice) == "seeds 0, 1 and 3 settings of the grid"
    assert missing_runs(choice) == 17


def test_settings_beside_the_grid_fill_no_cell(tables, read):
    fill(tables, without={(0, s) for s in range(5)})
    for seed in range(5):
        tables.run(FMNIST, "none", seed, lr=0.5, batch_size=16)
    selection = read()
    assert cell(selection).n_missing == 5
    assert lack(selection.choice(FMNIST, "none")) == "1 settings of the grid"


def test_a_diverged_run_is_over_and_a_failed_one_is_tried_again(tables, read):
    fill(tables, without={(0, 0), (0, 1)})
    tables.lost(FMNIST, "none", 0, "diverged", **GRID[0])
    tables.lost(FMNIST, "none", 1, "failed", **GRID[0])
    assert cell(read()).n_missing == 1


def test_two_halves_at_other_precision_make_no_whole(tables, read):
    fill(tables, without={(0, 3), (0, 4)})
    for seed in (2, 3, 4):
        tables.run(FMNIST, "none", seed, precision="bf16-mixed", **GRID[0])
    assert cell(read()).n_missing == 2


def test_another_variant_and_another_experiment_fill_no_cell(tables, read):
    fill(tables, e=KMNIST)
    fill(tables, method="spec", lam=0.1, options='{"n_iter": 5, "power": 1, "detach": true}')
    selection = read()
    assert cell(selection).n_missing == 20
    assert cell(selection, method="spec").n_missing == 80


def test_stored_runs_without_their_directory_are_not_trained_again(tables, read, tmp_path):
    fill(tables, without={(0, 0)})
    for row in tables.runs[:4]:
        folder = tmp_path / "runs" / row["run"]
        folder.mkdir(parents=True)
        (folder / "result.json").write_text("{}")
    found = cell(read())
    assert found.n_again == 15
    words = "dataset=fmnist train.lr=0.01 train.batch_size=16 seed=0 -m"
    assert found.exact == ((f"python train.py +method=none {words}", 1),)


def test_figure_4_names_the_sizes_that_lack_runs(tables, read):
    for size in SIZES[2:]:
        e = size_experiment(size, augmented=False)
        for seed in range(5):
            tables.run(e, "none", seed, lr=0.1)
            for beta in grid(e, "pred_ibp")["beta"]:
                tables.run(e, "pred_ibp", seed, lr=0.1, beta=beta)
    found = narrowed(sweeps(read()), table="p1-fig4")
    assert [(s.method, s.n_missing, s.n_runs) for s in found] == [
        *(("none", 10, 10), ("pred_ibp", 90, 90)),
        *(("none", 40, 40), ("pred_ibp", 360, 360)),
    ]
    assert "data.subset=1000,2000 train.epochs=100" in found[0].command


def test_a_plan_is_narrowed_by_names_and_lists_of_them(read):
    planned = sweeps(read())
    kept = narrowed(planned, table="p1-table1", method="at,tbp", dataset="mnist")
    assert [s.what for s in kept] == ["at on mnist", "tbp on mnist"]
    assert kept[0].n_runs == n_runs(read().choice(MNIST, "at")) == 80
    assert narrowed(planned) == planned


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ({"table": "p3"}, "table=p3 is not among p2-table1, p1-table1, p1-figure4$"),
        ({"method": "sepc"}, "method=sepc is not among spec, frob, .*fast_tbp$"),
        ({"method": "spec,sepc"}, "method=sepc"),
        ({"method": ",", "table": "p1-fig4"}, "method= is not among"),
        ({"dataset": "svhn"}, "dataset=svhn is not among cifar10, kmnist, fmnist, mnist$"),
        (
            {"table": "p2-table1", "method": "at"},
            "method=at is not among spec, frob, spec_bound, l2, none with table=p2-table1$",
        ),
        (
            {"table": "p2-table1", "method": "l2", "dataset": "mnist"},
            "is not among cifar10, kmnist, fmnist with table=p2-table1 method=l2$",
        ),
    ],
)
def test_a_name_that_is_not_there_is_answered_with_those_that_are(read, words, says):
    with pytest.raises(ConfigError, match=says):
        narrowed(sweeps(read()), **words)
