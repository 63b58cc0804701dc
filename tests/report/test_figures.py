"""Figures by what is in them: lines, labels and captions. What they look like was looked at."""

import numpy as np
import pytest

from jacexp.report.figures import boundary, captions, cost, curves, draw_all, files, size
from jacexp.report.paper import EXPERIMENTS, size_experiment
from jacexp.report.select import Selection
from jacexp.report.style import LOOKS, column_style

CIFAR, KMNIST, FMNIST = EXPERIMENTS["P2"]
NAMES = ["p1-figure2", "p1-figure3", "p1-figure4", "p2-figure3", "p2-figure4", "p2-figure5"]


@pytest.fixture(scope="module")
def drawn(ideal):
    return draw_all(Selection(ideal, "holdout"))


def line_of(axes, method):
    """The line of a method: the one in its colour with most points."""
    lines = [line for line in axes.get_lines() if line.get_color() == LOOKS[method].color]
    return max(lines, key=lambda line: len(line.get_xdata()))


def test_every_figure_of_both_papers_is_drawn_from_a_full_store(drawn):
    assert [d.name for d in drawn.figures] == NAMES
    assert drawn.gaps == ()


def test_every_axis_has_a_label_or_stands_above_one_that_has(drawn):
    for d in drawn.figures:
        grid = d.figure.axes
        assert grid[-1].get_xlabel(), d.name
        assert any(axes.get_ylabel() for axes in grid) or d.figure.get_supylabel() or d.name == "p2-figure4"
        assert d.figure.get_figwidth() == 3.25


def test_no_text_is_outside_of_its_figure(drawn, tables, read):
    tables.curve(tables.run(FMNIST, "none", 0), "pgd", {0: 0.9, 1: 0.8})
    alone = draw_all(read())
    for d in (*drawn.figures, *alone.figures):
        with column_style():
            d.figure.draw_without_rendering()
            box = d.figure.get_tightbbox()
        width, height = d.figure.get_size_inches()
        assert min(box.x0, box.y0) > -0.01, d.name
        assert box.x1 < width + 0.01, d.name
        assert box.y1 < height + 0.01, d.name


def test_a_method_looks_the_same_in_every_figure(drawn):
    for d in drawn.figures:
        for axes in d.figure.axes:
            for line in axes.get_lines():
                method = next((m for m, look in LOOKS.items() if look.color == line.get_color()), None)
                if method and line.get_marker() not in ("None", "o", "|"):
                    assert line.get_marker() == LOOKS[method].marker


def test_robustness_is_drawn_as_the_change_of_each_networks_own_accuracy(tables, read):
    for seed, (clean, attacked) in enumerate(((0.90, 0.80), (0.80, 0.66))):
        run = tables.run(FMNIST, "spec", seed, lam=0.1)
        tables.curve(run, "pgd", {0: clean, 10: attacked})
    made = curves.draw(read(), curves.ROBUSTNESS)
    (only,) = made.figures
    titles = [axes.get_title(loc="left") for axes in only.figure.axes]
    assert titles == ["FashionMNIST, PGD"]
    line = line_of(only.figure.axes[0], "spec")
    assert np.allclose(line.get_xydata(), [[0, 0], [10, -12]])
    assert "Not run: white_noise on kmnist for" in only.caption
    assert "networks: spec 2" in only.caption
    commands = {gap.command for gap in made.gaps}
    assert "python scripts/evaluate.py eval=pgd dataset=kmnist" in commands
    assert "python train.py +method=frob dataset=fmnist -m" in commands
    assert "python train.py +method=spec dataset=fmnist -m" not in commands


def test_a_panel_without_data_says_so_and_a_row_has_one_scale(tables, read):
    for e, shares in ((KMNIST, {"pgd": 0.8, "square": 0.5}), (FMNIST, {"pgd": 0.1})):
        run = tables.run(e, "spec", 0, lam=0.1)
        for evaluation, share in shares.items():
            tables.curve(run, evaluation, {0: 0.9, 10: share})
    (only,) = curves.draw(read(), curves.ROBUSTNESS).figures
    pgd, pgd_too, square, empty = only.figure.axes
    assert pgd.get_ylim() == pgd_too.get_ylim()
    assert pgd.get_ylim() != square.get_ylim()
    assert [text.get_text() for text in empty.texts] == ["not run"]
    titles = [axes.get_title(loc="left") for axes in only.figure.axes]
    assert titles[:2] == ["(a) KMNIST, PGD", "(b) FashionMNIST, PGD"]
    assert only.figure.legends[0].get_title().get_text() == "one network a method"


def test_a_data_set_of_ones_own_gets_a_figure_of_its_own(tables, read):
    run = tables.run(KMNIST, "spec", 0, dataset="kmnist6k", lam=0.1)
    tables.curve(run, "pgd", {0: 0.9, 10: 0.5})
    tables.distance(run, {0: 1.0, 1: 2.0})
    made = draw_all(read())
    assert [d.name for d in made.figures] == [
        "p2-figure3-kmnist6k-lenet-50-epochs",
        "p2-figure4-kmnist6k-lenet-50-epochs",
    ]
    assert all("not an experiment of the paper" in d.caption for d in made.figures)


def test_flagged_points_are_hollow_and_explained(tables, read):
    run = tables.run(FMNIST, "spec", 0, lam=0.1)
    tables.curve(run, "pgd", {0: 0.9, 1: 0.8})
    tables.curve(run, "pgd", {10: 0.5}, check="weaker_than_noise")
    (only,) = curves.draw(read(), curves.ROBUSTNESS).figures
    hollow = [line for line in only.figure.axes[0].get_lines() if line.get_markerfacecolor() == "white"]
    assert [tuple(point) for line in hollow for point in line.get_xydata()] == [(10, pytest.approx(-40))]
    assert {line.get_marker() for line in hollow} == {LOOKS["spec"].marker}
    assert "self-check flag" in [text.get_text() for text in only.figure.legends[0].get_texts()]
    assert "self-check of spec: weaker_than_noise (1 of 3 points)" in only.caption


def test_the_legend_says_how_many_networks_there_are(tables, read):
    for method, n in (("spec", 3), ("none", 2)):
        for seed in range(n):
            run = tables.run(FMNIST, method, seed, **({"lam": 0.1} if method == "spec" else {}))
            tables.curve(run, "pgd", {0: 0.9, 1: 0.8})
    (only,) = curves.draw(read(), curves.ROBUSTNESS).figures
    assert [t.get_text() for t in only.figure.legends[0].get_texts()] == ["Spectral (n = 3)", "None (n = 2)"]


def test_the_size_of_the_set_is_drawn_with_the_chosen_strength(tables, read):
    for n_images, error in ((1000, 0.06), (10_000, 0.02)):
        for seed in range(2):
            e = size_experiment(n_images, augmented=False)
            tables.run(e, "pred_ibp", seed, val=1 - error, test=1 - error, beta=0.3)
            tables.run(e, "pred_ibp", seed, val=0.5, test=1, beta=1.0)
    made = size.draw(read())
    (only,) = made.figures
    upper, lower = only.figure.axes
    assert np.allclose(line_of(upper, "pred_ibp").get_xydata(), [[1000, 6], [10_000, 2]])
    assert np.allclose(line_of(lower, "pred_ibp").get_xydata(), [[1000, 0.3], [10_000, 0.3]])
    assert any(
        gap.command.startswith("python train.py +method=none dataset=mnist data.subset=1000,")
        for gap in made.gaps
    )
    assert "none on 1,000, 2,000" in only.caption


def test_strengths_over_several_powers_of_ten_have_ticks(tables, read):
    for n_images, beta in ((1000, 3.0), (10_000, 0.03)):
        tables.run(size_experiment(n_images, augmented=False), "pred_ibp", 0, beta=beta)
    (only,) = size.draw(read()).figures
    with column_style():
        only.figure.draw_without_rendering()
    lower = only.figure.axes[1]
    low, high = lower.get_ylim()
    shown = [label.get_text() for label in lower.get_yticklabels() if low < label.get_position()[1] < high]
    assert {"0.03", "0.1", "0.3", "1", "3"} <= set(shown)


def test_distances_are_drawn_for_the_lowest_seed_that_most_methods_have(tables, read):
    tables.distance(tables.run(FMNIST, "spec", 0, lam=0.1), {0: 1.0})
    for method in ("spec", "none"):
        run = tables.run(FMNIST, method, 1, **({"lam": 0.1} if method == "spec" else {}))
        tables.distance(run, {0: 2.0, 1: 4.0, 2: float("inf") if method == "spec" else 3.0})
    tables.run(FMNIST, "none", 0)
    tables.distance(tables.run(FMNIST, "none", 0, options='{"a": "variant"}'), {0: 9.0})
    (only,) = boundary.draw(read()).figures
    (axes,) = only.figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["Spectral", "None"]
    assert axes.get_title(loc="left") == "FashionMNIST (3 test images)"
    means = [line.get_xdata()[0] for line in axes.get_lines() if line.get_marker() == "o"]
    assert means == [3.0, 3.0]
    assert "seed 1 of each method" in only.caption
    assert "No boundary within the largest radius, and in no box: spec 1" in only.caption


def test_of_seeds_with_as_many_methods_distances_are_drawn_on_most_images(tables, read):
    for seed, distances in enumerate(({0: 1.0}, {0: 2.0, 1: 2.0}, {0: 3.0, 1: 3.0})):
        for method, strength in (("spec", {"lam": 0.1}), ("none", {})):
            tables.distance(tables.run(FMNIST, method, seed, **strength), distances)
    (only,) = boundary.draw(read()).figures
    assert "seed 1 of each method, the 2 test images" in only.caption


def test_no_box_is_cut_off_by_the_panel_above(tables, read):
    for e, far in ((KMNIST, 1.0), (FMNIST, 9.0)):
        tables.distance(tables.run(e, "spec", 0, lam=0.1), {0: 0.5, 1: far})
    (only,) = boundary.draw(read()).figures
    for axes in only.figure.axes:
        left, right = axes.get_xlim()
        assert left == 0
        assert right > 8.5


def test_the_caption_says_how_the_boundary_was_searched_for(tables, read):
    run = tables.run(FMNIST, "spec", 0, lam=0.1)
    tables.distance(run, {0: 1.0})
    settings = '{"max_radius": 24.0, "n_directions": 256, "n_spheres": 12}'
    tables.point(run, "boundary", variable="radius", value=2, threat="random directions", settings=settings)
    (only,) = boundary.draw(read()).figures
    assert "Random directions: 256 directions, 12 radii up to 24." in only.caption


def test_the_caption_says_where_the_sign_of_the_gradient_is_from(drawn):
    captions_by_name = {d.name: d.caption for d in drawn.figures}
    assert "from its log-odds" in captions_by_name["p1-figure2"]
    assert "log-odds" not in captions_by_name["p1-figure3"]


def test_the_names_of_two_bounds_that_are_close_stay_apart(tables, read):
    spec, bound = tables.run(FMNIST, "spec", 0, lam=0.1), tables.run(FMNIST, "spec_bound", 0, lam=0.1)
    for n_iter in (1, 10):
        point = {"variable": "n_iter", "value": n_iter, "mean": 0.1, "statistic": "relative_error"}
        tables.point(spec, "jacobian", **point)
    for name, error in (("reshaped", 10.0), ("operator", 10.5)):
        tables.point(bound, "jacobian", mean=error, statistic=f"bound_{name}_error")
    (only,) = cost.draw(read()).figures
    with column_style():
        only.figure.draw_without_rendering()
        lower, upper = (text.get_window_extent() for text in only.figure.axes[1].texts)
    assert lower.y1 < upper.y0


def test_times_and_errors_of_the_norm(tables, read):
    for n in (16, 64):
        for method, ratio in (("none", 1.0), ("spec", 2.0), ("analytical", 50.0)):
            tables.time("lenet", method, ratio, batch_size=n, seconds=ratio * n / 1e3)
    run = tables.run(FMNIST, "spec", 0, lam=0.1)
    for n_iter, error in ((1, 0.3), (2, 0.1)):
        tables.point(run, "jacobian", variable="n_iter", value=n_iter, mean=error, statistic="relative_error")
    made = cost.draw(read())
    left, right = made.figures[0].figure.axes
    assert np.allclose(line_of(left, "analytical").get_xydata(), [[16, 800], [64, 3200]])
    assert np.allclose(line_of(right, "spec").get_xydata(), [[1, 0.3], [2, 0.1]])
    assert "jacobian on fmnist for spec_bound" in made.figures[0].caption
    assert "step time of lenet for spec_bound" in {gap.what for gap in made.gaps}


def test_without_data_there_is_no_figure_but_the_commands(tables, read):
    tables.run(FMNIST, "none", 0)
    made = draw_all(read())
    assert made.figures == ()
    wanted = [
        f"python scripts/evaluate.py eval={e} dataset=fmnist"
        for e in ("white_noise", "pgd", "tpgd", "square")
    ]
    commands = [gap.command for gap in made.gaps]
    assert set(wanted) <= set(commands)
    assert len(made.gaps) == len(set(made.gaps))
    assert "| white_noise on fmnist for spec, frob, spec_bound, l2, none |" in captions(made)


def test_selection_on_the_test_set_is_said_in_every_caption(tables, read):
    run = tables.run(FMNIST, "none", 0, select="paper")
    tables.curve(run, "pgd", {0: 0.9, 1: 0.8})
    (only,) = draw_all(read("paper")).figures
    assert only.caption.endswith("Hyper-parameters were selected on the test set.")


def test_the_same_tables_give_the_same_bytes_without_dates_and_versions(ideal, drawn):
    again = draw_all(Selection(ideal, "holdout"))
    assert captions(again) == captions(drawn)
    for first, second in zip(drawn.figures[2::2], again.figures[2::2], strict=True):
        made = files(first)
        assert list(made) == [f"{first.name}.png", f"{first.name}.pdf"]
        assert made == files(second)
        assert made[f"{first.name}.png"].startswith(b"\x89PNG")
        assert made[f"{first.name}.pdf"].startswith(b"%PDF")
        for content in made.values():
            assert not any(
                word in content for word in (b"CreationDate", b"atplotlib", b"Software", b"Producer")
            )
