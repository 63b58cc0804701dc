"""Figures of one's own runs: which lines there are, what is on their axes, and what is said to be missing."""

import json

import numpy as np
import pytest

from jacexp.errors import ConfigError
from jacexp.report.beside import read_results
from jacexp.report.paper import EXPERIMENTS
from jacexp.report.schema import read_store
from jacexp.report.study import curves, grid, training
from jacexp.report.study.draw import contents, draw
from jacexp.report.study.lines import studies
from jacexp.report.style import LOOKS
from jacexp.results import tidy
from tests.report.synthetic import Tables

E = EXPERIMENTS["P2"][2]
OWN = {"protocol": "own", "dataset": "shapes", "model": "net", "n_epochs": 30}


@pytest.fixture
def study(tables, tmp_path):
    """Make the one study of what is stored."""

    def make(**words):
        store = read_store(tables.write(tmp_path))
        runs, points = tidy(store)
        (found,) = studies(runs, **words)
        return found, points, store

    return make


def swept(tables, seeds=2):
    """spec over lam and lr, frob over lam, and a method of one's own, with curves."""
    for seed in range(seeds):
        for lam in (0.01, 0.1):
            for lr in (0.01, 0.03):
                val = 0.8 + lam + lr + seed / 100
                run = tables.run(E, "spec", seed, lam=lam, lr=lr, val=val, test=0.8, **OWN)
                tables.curve(run, "white_noise", {0: 0.8, 0.1: 0.5 + lam}, variable="sigma")
            run = tables.run(E, "frob", seed, lam=lam, val=0.9 - lam, **OWN)
            tables.curve(run, "pgd", {0: 0.9, 10: 0.3 + seed / 10}, variable="steps")
        run = tables.run(E, "mine", seed, lam=1, **OWN)
        tables.curve(run, "white_noise", {0: 0.8, 0.1: 0.7}, variable="sigma")


def figure_of(made, end):
    (found,) = [figure for figure in made if figure.name.endswith(end)]
    return found


def curve_of(axes, look):
    (line,) = [x for x in axes.get_lines() if x.get_color() == look.color and len(x.get_xdata()) > 0]
    return line


def test_a_line_is_the_setting_with_the_lowest_validation_loss_of_those_with_most_seeds(tables, study):
    swept(tables)
    tables.run(E, "spec", 0, lam=10, val=0.999, **OWN)
    tables.lost(E, "frob", 0, lam=0.5, **OWN)
    found, _, _ = study(methods=["mine", "spec", "frob"])
    assert [line.label for line in found.lines] == ["mine", "Spectral", "Frobenius"]
    mine, spec, frob = found.lines
    assert spec.sentence == (
        "Spectral, lam = 0.1, lr = 0.03: n = 2, seeds 0, 1, the best of 4 settings by validation loss, "
        "beside 1 settings with fewer seeds or a lost run"
    )
    assert (frob.searched["lam"], frob.n_settings, frob.n_aside) == (0.01, 2, 1)
    assert (spec.look, frob.look) == (LOOKS["spec"], LOOKS["frob"])
    assert mine.look not in (spec.look, frob.look)


def test_by_draws_a_line_for_each_value_each_with_a_look_of_its_own(tables, study):
    swept(tables)
    found, _, _ = study(by=["lam"])
    assert [line.label for line in found.lines] == [
        *(
            "Spectral, lam 0.01",
            "Spectral, lam 0.1",
            "Frobenius, lam 0.01",
            "Frobenius, lam 0.1",
            "mine, lam 1",
        )
    ]
    assert len({(line.look.color, line.look.marker) for line in found.lines}) == 5
    for lam in range(20):
        tables.run(E, "spec", 0, lam=lam + 2, **OWN)
    with pytest.raises(ConfigError, match="by=lam makes 25 lines on shapes, and 12 can be told apart"):
        study(by=["lam"])


def test_other_data_epochs_or_networks_are_other_studies(tables, tmp_path):
    swept(tables)
    tables.run(E, "spec", 0, lam=0.1, **{**OWN, "n_epochs": 5})
    tables.run(E, "spec", 0, lam=0.1, **OWN, options=json.dumps({"model.width": 8}))
    found = studies(tidy(read_store(tables.write(tmp_path))).runs)
    assert len({part.slug for part in found}) == len(found) == 3
    assert len(studies(tidy(read_store(tmp_path)).runs, ["n_epochs", "model.width"])) == 1


def test_curves_show_the_mean_of_each_line_and_say_which_lines_lack_them(tables, study):
    swept(tables)
    found, points, store = study()
    made, said = draw(found, points, store)
    figure = figure_of(made, "-curves")
    noise, pgd = figure.figure.axes
    spec, frob, mine = found.lines
    assert curve_of(noise, spec.look).get_ydata().tolist() == [80, 60]
    assert curve_of(noise, mine.look).get_ydata().tolist() == [80, 70]
    assert curve_of(pgd, frob.look).get_ydata() == pytest.approx([90, 35])
    assert (noise.get_xlabel(), noise.get_ylabel()) == ("σ (pixels in [0, 1])", "accuracy (%)")
    legend = [text.get_text() for text in figure.figure.legends[0].get_texts()]
    assert legend == ["Spectral", "Frobenius", "mine"]
    assert figure.figure.legends[0].get_title().get_text() == "shapes, mean ± 1 s.d. over 2 networks"
    assert "Spectral, lam = 0.1, lr = 0.03: n = 2, seeds 0, 1" in figure.caption
    command = "python scripts/evaluate.py eval=white_noise dataset=shapes method=frob"
    assert f"white_noise of Frobenius is not measured: {command}" in said
    (nowhere,) = [text for text in said if "square" in text]
    assert nowhere.startswith(
        "shapes, net, 30 epochs: not measured, so not drawn: gaussian, adversarial, tpgd, square"
    )
    assert not any(name.endswith("-jacobian") for name in (f.name for f in made))


def test_a_panel_with_fewer_networks_says_so_and_shows_points_that_all_have(tables, study):
    for seed in range(3):
        run = tables.run(E, "spec", seed, lam=0.1, **OWN)
        if seed:
            tables.curve(run, "pgd", {0: 0.8, 10: 0.5, **({20: 0.4} if seed == 1 else {})}, variable="steps")
    found, points, store = study()
    figure = figure_of(draw(found, points, store)[0], "-curves")
    (axes,) = figure.figure.axes
    assert axes.get_title(loc="left") == "PGD, n = 2"
    assert curve_of(axes, LOOKS["spec"]).get_xdata().tolist() == [0, 10]
    assert "pgd of Spectral: 2 of its networks" in figure.caption


def test_an_evaluation_of_ones_own_has_a_panel_of_its_variable(tables, study):
    run = tables.run(E, "spec", 0, lam=0.1, **OWN)
    tables.curve(run, "contrast", {0.5: 0.6, 1: 0.9}, variable="factor")
    found, points, store = study()
    (axes,) = figure_of(draw(found, points, store, evaluations=["contrast"])[0], "-curves").figure.axes
    assert (axes.get_xlabel(), axes.get_title(loc="left")) == ("factor", "contrast")
    assert curve_of(axes, LOOKS["spec"]).get_ydata() == pytest.approx([60, 90])


def test_norms_of_the_jacobian_are_a_number_a_network_and_a_curve(tables, study):
    for method in ("spec", "none"):
        for seed in (0, 1):
            run = tables.run(E, method, seed, lam=0.1 if method == "spec" else "", **OWN)
            tables.point(run, "jacobian", statistic="sigma1", mean=1 + seed, n=10, n_correct="", value="")
            for k in (1, 2):
                cells = {"statistic": "relative_error", "variable": "n_iter", "value": k, "mean": 0.1 / k}
                tables.point(run, "jacobian", n=10, n_correct="", check="zero_jacobian=1", **cells)
    found, points, _ = study()
    made, _ = curves.draw(found, points, curves.JACOBIAN, "jacobian", "norms")
    norm, error = made[0].figure.axes
    dots = [line for line in norm.get_lines() if len(line.get_xdata()) == 1]
    assert [dot.get_xdata()[0] for dot in dots] == [1.5, 1.5]
    assert error.get_yscale() == "log"
    assert "jacobian: 8 points are flagged zero_jacobian (hollow)" in made[0].caption


def test_a_grid_over_two_keys_is_a_heat_map_and_over_one_a_line(tables, study):
    swept(tables)
    tables.run(E, "spec", 2, lam=0.1, lr=0.01, val=0.1, **OWN)
    tables.lost(E, "spec", 0, lam=1, lr=0.01, **OWN)
    found, _, _ = study()
    made, said = grid.draw(found, "val_loss")
    heat = figure_of(made, "-grid-spec")
    axes = heat.figure.axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0.01", "0.1", "1"]
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_title(loc="left")) == (
        "lam",
        "lr",
        "Spectral on shapes",
    )
    # 1 − (0.8 + lam + lr + seed / 100), over two seeds; over three where a third was added
    expected = np.array([[0.175, (0.09 + 0.08 + 0.9) / 3, np.nan], [0.155, 0.065, np.nan]])
    assert np.ma.filled(axes.images[0].get_array(), np.nan) == pytest.approx(expected, nan_ok=True)
    assert [text.get_text() for text in axes.texts] == ["0.175", "0.357", "lost", "0.155", "0.065", "–"]
    assert len(axes.patches) == 1
    assert axes.patches[0].get_xy() == (0.5, -0.5), "the only one with three seeds"
    line = figure_of(made, "-grid-frob")
    assert curve_of(line.figure.axes[0], LOOKS["frob"]).get_ydata() == pytest.approx([0.11, 0.2])
    assert "Mean over 2 to 3 seeds a setting" in heat.caption
    assert "1 runs diverged or failed" in heat.caption
    assert said == []


def test_a_lost_setting_has_its_place_in_a_line_and_a_grid_of_lost_ones_is_said(tables, study):
    for lam in (0.01, 0.1):
        tables.run(E, "spec", 0, lam=lam, **OWN)
        tables.run(E, "frob", 0, lam=lam, **OWN)
        tables.lost(E, "frob", 1, lam=lam, **OWN)
    tables.lost(E, "spec", 0, lam=1e9, **OWN)
    found, _, _ = study()
    (made,), said = grid.draw(found, "val_loss")
    axes = made.figure.axes[0]
    low, high = axes.get_xlim()
    assert low < 0.01
    assert high > 1e9
    assert [text.get_text() for text in axes.texts] == ["lost"]
    assert said == [
        "shapes, net, 30 epochs: the grid of Frobenius is not drawn, for it has no setting with a validation loss "
        "whose runs are all done"
    ]


def test_settings_that_a_sweeper_drew_are_points(tables, study):
    for i in range(12):
        tables.run(
            E, "spec", 0, lam=10.0 ** (i / 4 - 3), lr=0.001 * (i * 7 % 12 + 1), val=0.5 + i / 100, **OWN
        )
    tables.lost(E, "spec", 0, lam=5, lr=0.5, **OWN)
    tables.run(E, "frob", 0, lam=1, **OWN)
    tables.run(E, "frob", 0, lam=2, **OWN)
    found, _, _ = study()
    made, _ = grid.draw(found, "val_loss")
    axes = figure_of(made, "-grid-spec").figure.axes[0]
    lost, done, best = axes.collections
    assert (len(lost.get_offsets()), len(done.get_offsets()), len(best.get_offsets())) == (1, 12, 1)
    assert best.get_offsets()[0].tolist() == pytest.approx([10 ** (11 / 4 - 3), 0.006])
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")


def test_a_grid_with_more_keys_than_axes_is_said_or_refused(tables, study):
    for i in range(8):
        tables.run(E, "spec", 0, lam=1 + i % 2, lr=1 + i // 2 % 2, batch_size=1 + i // 4, **OWN)
    found, _, _ = study()
    made, said = grid.draw(found, "val_loss")
    assert made == []
    assert said == [
        "shapes, net, 30 epochs: the grid of Spectral is not drawn, for it has 3 keys, lam, lr, batch_size: "
        "choose one value for all but two"
    ]
    with pytest.raises(ConfigError, match=r"grid=lam,lr: the runs of spec differ in batch_size too; .*=1,2"):
        grid.draw(found, "val_loss", ["lam", "lr"])


def test_training_curves_are_those_of_the_runs_that_are_there(tables, study, tmp_path):
    for seed in range(3):
        run = tables.run(E, "spec", seed, lam=0.1, **OWN)
        tables.run(E, "none", seed, **OWN)
        folder = tmp_path / "runs" / run["run"]
        folder.mkdir(parents=True)
        rows = [f"{epoch},{2 - epoch + seed},1,10,{5 + epoch}" for epoch in range(2)]
        lines = ["epoch,train_cross_entropy,val_loss,val_n,val_n_correct", *rows]
        (folder / "metrics.csv").write_text("\n".join(lines))
    (folder / "metrics.csv").write_text("epoch\n0\n")
    found, _, store = study()
    made, said = training.draw(found, store)
    entropy, _, error = made[0].figure.axes
    assert curve_of(entropy, LOOKS["spec"]).get_xdata().tolist() == [1, 2]
    assert curve_of(entropy, LOOKS["spec"]).get_ydata().tolist() == [2.5, 1.5]
    assert curve_of(error, LOOKS["spec"]).get_ydata() == pytest.approx([50, 40])
    assert "the curves of 2 of them are there" in made[0].caption
    assert f"{folder / 'metrics.csv'} is damaged" in said[0]
    assert said[1].endswith("training curves are not drawn of None, whose runs have no directories here")


def test_no_text_is_outside_of_its_figure_and_files_are_the_same_twice(tables, study):
    swept(tables, seeds=1)
    found, points, store = study()
    made, _ = draw(found, points, store)
    for figure in made:
        box = figure.figure.get_tightbbox()
        width, height = figure.figure.get_size_inches()
        assert min(box.x0, box.y0) > -0.01, figure.name
        assert box.x1 < width + 0.01, figure.name
        assert box.y1 < height + 0.01, figure.name
    first = contents(found, made)
    assert set(first) == {
        "shapes-net.md",
        *(
            f"shapes-net-{kind}.{end}"
            for kind in ("curves", "grid-spec", "grid-frob")
            for end in ("png", "pdf")
        ),
    }
    assert contents(found, draw(found, points, store)[0]) == first


def test_the_users_runs_are_marked_where_the_references_are_drawn_too(tables, tmp_path):
    swept(tables)
    mine = Tables()
    mine.run(E, "spec", 5, run="f" * 12, lam=0.1, lr=0.03, val=0.99, **OWN)
    store = read_results(mine.write(tmp_path / "mine"), tables.write(tmp_path / "reference"))
    (found,) = studies(tidy(store).runs)
    assert "Spectral, lam = 0.1, lr = 0.03: n = 3 (1 yours), seeds 0, 1, 5" in found.lines[0].sentence
