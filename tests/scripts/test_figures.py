"""scripts/figures.py as a user starts it, away from the checkout: the words, the files, the reference beside."""

import importlib.util
from pathlib import Path

import pytest

from jacexp.errors import ConfigError
from jacexp.report.paper import EXPERIMENTS
from tests.report.synthetic import Tables

PATH = Path(__file__).parents[2] / "jacexp" / "commands" / "figures.py"
OWN = {"protocol": "own", "dataset": "shapes", "model": "net"}
E = EXPERIMENTS["P2"][2]


@pytest.fixture
def main(tmp_path, monkeypatch):
    """The script, in a folder with results of two methods on data of one's own."""
    spec = importlib.util.spec_from_file_location("figures", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    tables = Tables()
    for seed in (0, 1):
        for lam in (0.1, 1):
            run = tables.run(E, "spec", seed, lam=lam, val=0.9 - lam / 10, **OWN)
            tables.curve(run, "pgd", {0: 0.8, 10: 0.5}, variable="steps")
        tables.run(E, "mine", seed, **OWN)
    tables.write(tmp_path / "my_results")
    monkeypatch.chdir(tmp_path)
    return module.main


def names(folder):
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".pdf")


def test_figures_of_ones_own_runs_go_to_ones_own_folder(main, tmp_path, capsys):
    assert main(["dataset=shapes", "methods=mine,spec"]) == 0
    out, err = capsys.readouterr()
    assert names(tmp_path / "my_results" / "figures") == [
        "shapes-net-curves.png",
        "shapes-net-grid-spec.png",
        "shapes-net.md",
    ]
    assert "wrote my_results/figures/shapes-net-curves.png\n" in out
    assert (
        "pgd of mine is not measured: python scripts/evaluate.py eval=pgd dataset=shapes method=mine" in out
    )
    assert err == ""


def test_words_choose_runs_evaluations_and_the_place(main, tmp_path, capsys):
    assert main(["dataset=shapes", "lam=1", "grid=method.lam", "eval=pgd", "out=here"]) == 0
    assert names(tmp_path / "here") == ["shapes-net-curves.png", "shapes-net.md"]
    out = capsys.readouterr().out
    assert "the grid of Spectral is not drawn, for it has one value of lam" in out
    assert "square" not in out


def test_what_has_no_data_at_all_is_said_and_no_file_is_made(main, tmp_path, capsys):
    assert main(["methods=mine", "source=yours"]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[-1] == "nothing is drawn"
    assert not (tmp_path / "my_results" / "figures").exists()


def test_the_reference_alone_can_be_drawn(main, tmp_path, capsys):
    assert main(["dataset=fmnist", "methods=spec,none", "eval=pgd", "source=reference", "out=here"]) == 0
    assert "fmnist-lenet-curves.png" in names(tmp_path / "here")


def test_a_damaged_table_of_ones_own_leaves_the_reference_to_be_drawn(main, tmp_path, capsys):
    (tmp_path / "my_results" / "curves.csv").write_text("a,b\n")
    assert main(["dataset=fmnist", "methods=none", "eval=pgd", "out=here"]) == 1
    assert "fmnist-lenet-curves.png" in names(tmp_path / "here")
    assert "warning: your results are left out: my_results/curves.csv" in capsys.readouterr().err


def test_a_grid_with_too_many_keys_is_refused_before_anything_is_written(main, tmp_path):
    tables = Tables()
    for i in range(8):
        tables.run(E, "spec", 0, lam=1 + i % 2, lr=1 + i // 2 % 2, batch_size=1 + i // 4, **OWN)
    tables.write(tmp_path / "my_results")
    with pytest.raises(ConfigError, match="differ in batch_size too; choose one value"):
        main(["dataset=shapes", "grid=lam,lr"])
    assert not (tmp_path / "my_results" / "figures").exists()
