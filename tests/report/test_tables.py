"""Tables against numbers worked out by hand."""

import pytest

from jacexp.report.markup import latex, markdown
from jacexp.report.paper import EXPERIMENTS, TABLE1
from jacexp.report.schema import read_store
from jacexp.report.select import Selection
from jacexp.report.tables import document, table

MNIST, CIFAR_10K = EXPERIMENTS["P1"]
CIFAR, KMNIST, FMNIST = EXPERIMENTS["P2"]


@pytest.fixture
def made(tables, tmp_path):
    """Make a paper's table from the rows: its data and its Markdown."""

    def make(paper, how="holdout"):
        store = read_store(tables.write(tmp_path))
        filled = table(Selection(store, how), paper)
        return filled, markdown(document(filled, how, store.notes)), latex(document(filled, how, store.notes))

    return make


def line(text, method, section="FashionMNIST"):
    """The cells of a method's row in a section."""
    below = text.split(f"## {section}", 1)[1]
    row = next(row for row in below.splitlines() if row.startswith(f"| `{method}` |"))
    return [cell.strip() for cell in row.strip("|").split("|")]


def test_means_deviations_and_paired_differences_are_those_worked_out_by_hand(tables, made):
    for seed, (plain, spec) in enumerate(((0.90, 0.93), (0.91, 0.94), (0.92, 0.96))):
        tables.run(FMNIST, "none", seed, test=plain)
        tables.run(FMNIST, "spec", seed, test=spec, lam=0.01)
    filled, text, tex = made("P2")
    # differences 3, 3, 4: mean 10/3, deviation 1/sqrt(3), half width 4.3027 * (1/sqrt(3)) / sqrt(3) = 1.4342
    assert line(text, "spec") == [
        "`spec`",
        "91.10 ± 0.06",
        "94.33 ± 1.53",
        "3 of 5",
        "+3.33 [+1.90, +4.77]",
        "lam = 0.01, lr = 0.01, batch_size = 32",
    ]
    assert line(text, "none")[1:5] == ["90.35 ± 0.28", "91.00 ± 1.00", "3 of 5", "–"]
    assert r"\texttt{spec} & 91.10 $\pm$ 0.06 & 94.33 $\pm$ 1.53 & 3 of 5 & +3.33 [+1.90, +4.77] &" in tex
    assert filled.quantity == "test accuracy, %"
    assert "sample standard deviation over seeds" in text


def test_p1_shows_errors_strengths_and_times(tables, made):
    for seed, (plain, pred) in enumerate(((0.986, 0.990), (0.988, 0.991))):
        tables.run(MNIST, "none", seed, test=plain)
        tables.run(MNIST, "pred_ibp", seed, test=pred, beta=0.3)
    for method, ratio in (("none", 1.0), ("pred_ibp", 2.0), ("pred_ibp", 2.2), ("pred_ibp", 2.1)):
        tables.time("convnet_mnist", method, ratio)
    _, text, _ = made("P1")
    # errors 1.4, 1.2 and 1.0, 0.9: differences -0.4, -0.3; half width 12.7062 * 0.0707107 / sqrt(2) = 0.6353
    assert line(text, "pred_ibp", "MNIST") == [
        "`pred_ibp`",
        "0.90 ± 0.10",
        "0.95 ± 0.07",
        "2 of 10",
        "−0.35 [−0.99, +0.29]",
        "1",
        "0.3",
        "1.75",
        "2.10",
    ]
    assert line(text, "none", "MNIST")[2:] == ["1.30 ± 0.14", "2 of 10", "–", "–", "–", "1.00", "1.00"]
    assert "- times: cpu (x86_64, 2 threads)" in text


def test_differences_are_over_common_seeds(tables, made):
    for seed, share in enumerate((0.90, 0.91, 0.92)):
        tables.run(FMNIST, "none", seed, test=share)
    for seed, share in ((1, 0.92), (2, 0.94), (3, 0.10)):
        tables.run(FMNIST, "spec", seed, test=share, lam=0.01)
    filled, _, _ = made("P2")
    row = next(r for b in filled.blocks for r in b.rows if r.label == "spec" and b.experiment == FMNIST)
    assert (row.difference.n, row.difference.mean) == (2, pytest.approx(1.5))
    assert row.result.n == 3


def test_an_empty_cell_says_so_and_names_the_command(tables, made):
    tables.run(FMNIST, "none", 0)
    filled, text, tex = made("P2")
    assert line(text, "spec", "KMNIST")[1:] == ["96.61 ± 0.14", "not run", "0 of 5", "–", "–"]
    assert "| spec on kmnist: not run | `python train.py +method=spec dataset=kmnist -m` |" in text
    assert ("spec on kmnist: not run", "python train.py +method=spec dataset=kmnist -m") in filled.missing
    assert "not run" in tex


def test_missing_seeds_and_settings_are_named_with_the_command(tables, made):
    tables.run(FMNIST, "none", 0)
    tables.run(FMNIST, "none", 2)
    filled, text, _ = made("P2")
    command = "python train.py +method=none dataset=fmnist -m"
    assert ("none on fmnist: seeds 1, 3, 4 and 3 settings of the grid", command) in filled.missing
    assert "- none: seeds 1, 3, 4 are missing" in text
    assert "- none: 1 of the 4 settings of the grid were searched" in text
    assert line(text, "none")[3] == "2 of 5"


def test_a_complete_cell_is_not_missing(ideal):
    filled = table(Selection(ideal, "holdout"), "P1")
    assert not [what for what, _ in filled.missing if what.startswith(("at on mnist", "none on"))]


def test_a_lost_run_is_visible(tables, made):
    tables.lost(FMNIST, "spec", 0, "diverged", lam=0.1)
    tables.lost(FMNIST, "frob", 0, "failed", lam=0.1)
    tables.run(FMNIST, "l2", 0, lam=0.1, n_val="", val_loss="")
    _, text, _ = made("P2")
    assert [line(text, m)[2] for m in ("spec", "frob", "l2")] == ["diverged", "failed", "no validation"]
    assert (
        "- spec: settings with a lost run cannot be chosen (lam = 0.1, lr = 0.01, batch_size = 32: seed 0 diverged)"
        in text
    )


def test_a_duplicate_row_is_visible(tables, made):
    first = tables.run(FMNIST, "none", 0, test=0.1)
    tables.run(FMNIST, "none", 0, test=0.9, run=first["run"])
    _, text, _ = made("P2")
    assert line(text, "none")[2:4] == ["90.00", "1 of 5"]
    assert "## Put aside while reading\n\n- run 000000000000 is stored 2 times; the last row counts" in text


def test_one_seed_has_no_deviation_and_no_interval(tables, made):
    tables.run(FMNIST, "none", 0, test=0.9)
    tables.run(FMNIST, "spec", 0, test=0.91, lam=0.1)
    _, text, _ = made("P2")
    assert line(text, "spec")[2:5] == ["91.00", "1 of 5", "+1.00 (n = 1)"]


def test_data_with_a_name_of_its_own_never_fills_a_papers_cell(tables, made):
    tables.run(KMNIST, "spec", 0, dataset="kmnist6k", test=0.8, lam=0.1)
    filled, text, _ = made("P2")
    assert line(text, "spec", "KMNIST")[2] == "not run"
    own = "kmnist6k, lenet, 50 epochs (not an experiment of the paper)"
    assert line(text, "spec", own)[1:4] == ["–", "80.00", "1"]
    assert not [what for what, _ in filled.missing if "kmnist6k" in what]


def test_a_test_set_that_is_not_whole_says_so(tables, made):
    tables.run(CIFAR, "none", 0, test=0.9, n_test=9980, protocol="spectral_vgg")
    _, text, _ = made("P2")
    assert "- tested on n_test = 9,980 of the 10,000 test images" in text
    assert line(text, "none", "CIFAR-10")[2] == f"{100 * 9000 / 9980:.2f}"


def test_results_selected_on_the_test_set_say_so(tables, made):
    tables.run(FMNIST, "none", 0, select="paper")
    _, text, tex = made("P2", how="paper")
    for written in (text, tex):
        assert "Hyper-parameters were selected on the test set" in written
    assert "python train.py +method=spec dataset=kmnist select=paper -m" in text
    assert line(text, "none")[2] == "90.00"


@pytest.mark.parametrize("paper", ["P1", "P2"])
def test_the_papers_numbers_stand_in_every_row(ideal, paper):
    text = markdown(document(table(Selection(ideal, "holdout"), paper), "holdout", ()))
    sections = {"cifar10": "CIFAR-10", "mnist": "MNIST", "kmnist": "KMNIST", "fmnist": "FashionMNIST"}
    for dataset, cells in TABLE1[paper].items():
        for method, cell in cells.items():
            shown = line(text, method, sections[dataset])[1]
            assert [float(part) for part in shown.split(" ± ")] == [cell.value, cell.deviation]


def test_latex_has_as_many_cells_in_each_row_as_columns(ideal):
    tex = latex(document(table(Selection(ideal, "holdout"), "P1"), "holdout", ()))
    rows = [row for row in tex.splitlines() if row.startswith(r"\texttt")]
    assert len(rows) == 14
    assert {row.count("&") for row in rows} == {8}
    assert all(row.endswith(r"\\") for row in rows)
