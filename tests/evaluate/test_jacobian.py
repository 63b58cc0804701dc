import numpy as np
import pytest
import torch
from torch import nn

from jacexp.evaluate import check_samples, jacobian
from jacexp.evaluate.draws import normal, rows
from jacexp.jacobian import frobenius_norm, linearize
from jacexp.jacobian.norms import per_sample_norm, power_iteration
from tests.evaluate.nets import N_CLASSES, convnet, halves, images, random_linear


def test_statistics_of_a_linear_network_are_those_of_its_weight():
    net, (x, y) = random_linear(64, N_CLASSES, std=0.25), images(30)
    singular = torch.linalg.svdvals(net.body[1].weight.detach())
    table = jacobian(check_samples(net, x, y), n_iter=40).set_index("statistic")
    # J of the logits by the normalised input: the deviation does not enter.
    for cell in ("mean", "min", "max"):
        assert table.loc["sigma1", cell] == pytest.approx(singular[0].item())
        assert table.loc["frobenius", cell] == pytest.approx(singular.norm().item())
        assert table.loc["bound_reshaped", cell] == pytest.approx(singular[0].item())
        assert table.loc["bound_operator", cell] == pytest.approx(singular[0].item())
    assert table.loc["bound_operator_error", "max"] == pytest.approx(0, abs=1e-9)
    errors = table.loc["relative_error"]
    assert errors["value"].tolist() == list(range(1, 41))
    assert errors["mean"].is_monotonic_decreasing
    assert errors["mean"].iloc[-1] < 1e-6 < errors["mean"].iloc[0]


def test_estimates_are_those_of_the_power_iteration():
    net, (x, y) = convnet(), images(60)
    table = jacobian(check_samples(net, x, y), n_iter=3)
    normalised = net.normalize(x.double() / 255)
    lin = linearize(net.body, normalised)
    v = rows(normal, 0, 60, (1, 8, 8), 0, "jacobian").double()
    sigma1 = torch.linalg.svdvals(
        torch.func.vmap(torch.func.jacrev(lambda x: net.body(x[None])[0]))(normalised).flatten(2)
    )[:, 0]
    alive = sigma1 > 0
    for n_iter in (1, 2, 3):
        estimate = per_sample_norm(lin.vjp(power_iteration(lin, v, n_iter)))
        error = ((estimate - sigma1).abs() / sigma1)[alive]
        row = table[table["value"] == n_iter].iloc[0]
        assert row["n"] == int(alive.sum())
        assert [row["mean"], row["max"]] == pytest.approx([error.mean().item(), error.max().item()])
    row = table.set_index("statistic").loc["frobenius"]
    assert row["mean"] == pytest.approx(frobenius_norm(net.body, normalised).mean().item())


def test_errors_of_the_bounds_are_relative_to_each_samples_norm():
    net, (x, y) = convnet(), images(60)
    table = jacobian(check_samples(net, x, y)).set_index("statistic")
    assert table.loc["bound_operator", "check"] == ""
    for name in ("bound_reshaped", "bound_operator"):
        smallest = table.loc[name, "mean"] / table.loc["sigma1", "max"] - 1
        assert table.loc[f"{name}_error", "min"] == pytest.approx(smallest)


def test_a_product_below_a_norm_raises_a_flag():
    """A reshaped kernel of ones has norm 3, the convolution on 8×8 pixels (1 + 2 cos(π/9))² > 8."""
    net, (x, y) = convnet(), images(20)
    conv = torch.nn.Conv2d(1, 1, 3, padding=1, bias=False, dtype=torch.float64)
    head = torch.nn.Linear(64, N_CLASSES, dtype=torch.float64)
    torch.nn.init.ones_(conv.weight)
    torch.nn.init.eye_(head.weight)
    top = torch.linalg.svd(
        torch.autograd.functional.jacobian(conv, torch.zeros(1, 1, 8, 8).double()).view(64, 64)
    )
    head.weight.data[0] = top.U[:, 0]
    head.weight.data[1:] = 0
    net.body = torch.nn.Sequential(conv, torch.nn.Flatten(), head)
    table = jacobian(check_samples(net, x, y)).set_index("statistic")
    assert table.loc["bound_reshaped", "check"] == "below_sigma1"
    assert table.loc["sigma1", "mean"] == pytest.approx((1 + 2 * np.cos(np.pi / 9)) ** 2)


def test_dead_samples_have_no_relative_error():
    net, (x, y) = halves(torch.zeros(64, dtype=torch.float64)), images(20)
    table = jacobian(check_samples(net, x, y.clamp(max=1)), n_iter=2).set_index("statistic")
    assert table.loc["sigma1", "max"] == 0
    assert table.loc["sigma1", "check"] == "zero_jacobian=20"
    assert (table.loc["relative_error", "n"] == 0).all()
    assert table.loc["relative_error", "mean"].isna().all()


def test_a_network_without_an_operator_bound_keeps_all_the_rest(capsys):
    net, (x, y) = convnet(), images(20)
    whole = jacobian(check_samples(net, x, y), n_iter=2)
    assert capsys.readouterr().err == ""
    net.body.append(nn.GroupNorm(1, N_CLASSES).double())
    table = jacobian(check_samples(net, x, y), n_iter=2)
    missing = {"bound_operator", "bound_operator_error"}
    assert set(whole["statistic"]) - set(table["statistic"]) == missing
    assert capsys.readouterr().err == "note: no operator bound is known: no norm is for a layer GroupNorm\n"
