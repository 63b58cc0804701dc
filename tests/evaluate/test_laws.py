"""What holds for every evaluation: it leaves everything as it was, and no batch size or order changes its numbers."""

import json

import pandas as pd
import pytest
import torch
from torch import nn

from jacexp.errors import ConfigError, DataError
from jacexp.evaluate import EVALUATIONS, EvaluationError, accuracy, check_samples, evaluate
from jacexp.evaluate.points import COLUMNS
from jacexp.models import Network
from tests.evaluate.nets import N_CLASSES, convnet, images

# Small axes; the data cross a block of noise (50 samples) and the batches of the first run.
SETTINGS = {
    "accuracy": {},
    "adversarial": {"epsilons": [0, 0.05, 0.2]},
    "gaussian": {"sigmas": [0, 0.1, 0.5]},
    "white_noise": {"sigmas": [0, 0.1, 0.5]},
    "pgd": {"steps": [0, 1, 4], "eta": 0.05},
    "tpgd": {"steps": [0, 1, 4], "eta": 0.05},
    "square": {"queries": [0, 5, 20], "chunk": 40},
    "autoattack": {"delta": 0.5, "steps": 3, "chunk": 40},
    "autoattack_quick": {"delta": 0.5, "steps": 2, "chunk": 40},
    "boundary": {"n_directions": 40, "tolerance": 0.1},
    "jacobian": {"n_iter": 3},
}
NAMES = list(SETTINGS)
BATCHED = [name for name in NAMES if name not in ("square", "autoattack", "autoattack_quick")]
X, Y = images(70)


def run(name: str, net: Network, **more: object) -> pd.DataFrame:
    points, samples = evaluate(name, net, X, Y, dataset="digits", **(SETTINGS[name] | more))
    return points if samples is None else pd.concat([points, samples], axis=1)


@pytest.fixture(scope="module")
def net() -> Network:
    return convnet()


def test_every_evaluation_is_here():
    assert set(NAMES) == set(EVALUATIONS)


@pytest.mark.parametrize("name", NAMES)
def test_returns_the_schema_with_counts_and_its_settings(name, net):
    points, _ = evaluate(name, net, X, Y, dataset="digits", **SETTINGS[name])
    kinds = {**COLUMNS, "settings": "str"}
    text = str(pd.Series([""], dtype="str").dtype)
    assert dict(points.dtypes.astype(str)) == {c: text if k == "str" else k for c, k in kinds.items()}
    counted = points.dropna(subset="n_correct")
    assert (counted["n_correct"] >= 0).all()
    assert (counted["n_correct"] <= counted["n"]).all()
    evaluation = EVALUATIONS[name]
    assert set(points["settings"]) == {
        evaluation.stored_settings(evaluation.settings("digits", SETTINGS[name]))
    }
    assert json.loads(points["settings"][0]).keys().isdisjoint({"batch_size", "progress"})
    assert (points["threat"] != "").all()


@pytest.mark.parametrize("name", NAMES)
def test_leaves_modes_flags_buffers_gradients_data_and_global_randomness(name, net):
    net.train()
    net.body[1].eval()  # a frozen batch-norm layer in a training network
    net.body[0].weight.requires_grad_(False)
    modes = {module: module.training for module in net.modules()}
    flags = [p.requires_grad for p in net.parameters()]
    state = {key: value.clone() for key, value in net.state_dict().items()}
    x, random_state, cudnn = X.clone(), torch.get_rng_state(), torch.backends.cudnn.deterministic
    try:
        run(name, net)
        assert {module: module.training for module in net.modules()} == modes
        assert [p.requires_grad for p in net.parameters()] == flags
        assert all(p.grad is None for p in net.parameters())
        assert all(torch.equal(value, state[key]) for key, value in net.state_dict().items())
        assert torch.equal(X, x)
        assert torch.equal(torch.get_rng_state(), random_state)
        assert torch.backends.cudnn.deterministic == cudnn
        assert not any(module._forward_hooks for module in net.modules())
    finally:
        net.requires_grad_(True).eval()


@pytest.mark.parametrize("name", NAMES)
def test_order_mode_and_global_seed_change_nothing(name, net):
    first = run(name, net)
    torch.manual_seed(7)
    run("accuracy", net)
    with torch.inference_mode():
        pd.testing.assert_frame_equal(run(name, net.train()), first)
    net.eval()


@pytest.mark.parametrize("name", BATCHED)
def test_batch_size_changes_nothing(name, net):
    whole = run(name, net, batch_size=70)
    pd.testing.assert_frame_equal(run(name, net, batch_size=13), whole, rtol=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_floats_give_what_bytes_give(name, net):
    floats, _ = evaluate(name, net, X.double() / 255, Y, dataset="digits", **SETTINGS[name])
    whole, _ = evaluate(name, net, X, Y, dataset="digits", **SETTINGS[name])
    pd.testing.assert_frame_equal(floats, whole)


@pytest.mark.parametrize("name", NAMES)
def test_data_may_come_from_inference_mode(name, net):
    with torch.inference_mode():
        x, y = X.double() / 255, Y.clone()
    inferred, _ = evaluate(name, net, x, y, dataset="digits", **SETTINGS[name])
    whole, _ = evaluate(name, net, X, Y, dataset="digits", **SETTINGS[name])
    pd.testing.assert_frame_equal(inferred, whole)


@pytest.mark.parametrize("name", ["adversarial", "gaussian", "white_noise", "pgd", "tpgd", "square"])
def test_first_point_is_clean(name, net):
    clean = accuracy(check_samples(net, X, Y))["n_correct"][0]
    assert 0 < clean < len(Y)
    assert run(name, net)["n_correct"][0] == clean


@pytest.mark.parametrize("name", NAMES)
def test_progress_ends_at_the_end(name, net):
    told = []
    evaluate(
        name,
        net,
        X,
        Y,
        dataset="digits",
        progress=lambda done, total: told.append((done, total)),
        **SETTINGS[name],
    )
    done, totals = zip(*told, strict=True)
    assert list(done) == sorted(done)
    assert done[-1] == totals[-1] == max(totals)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (X[:0], Y[:0], "N ≥ 1"),
        (X, Y[:-1], r"\(69,\)"),
        (X / 127, Y, "float in \\[0,1\\]"),
        (X / 255 - torch.where(torch.arange(70) == 3, torch.nan, 0).view(-1, 1, 1, 1), Y, "nan"),
        (X.long(), Y, "int64"),
        (X, Y / 2, "integers"),
        (X, Y - 1, "-1"),
        (X, Y + 1, f"{N_CLASSES} classes"),
    ],
    ids=["empty", "lengths", "range", "nan", "integers", "float labels", "negative labels", "unknown labels"],
)
def test_bad_data_is_one_clear_error(name, x, y, message, net):
    with pytest.raises(DataError, match=message):
        evaluate(name, net, x, y, dataset="digits", **SETTINGS[name])


@pytest.mark.parametrize("name", NAMES)
def test_a_diverged_network_is_one_clear_error(name):
    net = convnet()
    nn.init.constant_(net.body[-1].bias, torch.nan)
    with pytest.raises(EvaluationError, match="not all finite"):
        run(name, net)


@pytest.mark.parametrize("name", NAMES)
def test_an_unknown_setting_is_one_clear_error(name, net):
    with pytest.raises(ConfigError, match=f"{name} has no setting sigmaz"):
        run(name, net, sigmaz=[0.1])


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("gaussian", {"sigmas": [-0.1]}),
        ("white_noise", {"sigmas": []}),
        ("white_noise", {"sigmas": [float("nan")]}),
        ("white_noise", {"sigmas": [0.1, 0.2, 0.1]}),
        ("white_noise", {"sigmas": 0.1}),
        ("gaussian", {"seed": -1}),
        ("adversarial", {"epsilons": [float("inf")]}),
        ("accuracy", {"batch_size": 0}),
        ("pgd", {"steps": [1.5]}),
        ("pgd", {"steps": [-1]}),
        ("pgd", {"delta": 0}),
        ("pgd", {"n_samples": 0}),
        ("pgd", {"tally": "best"}),
        ("tpgd", {"eta": -0.1}),
        ("square", {"chunk": 0}),
        ("square", {"n_samples": 0}),
        ("autoattack", {"steps": 0}),
        ("boundary", {"n_directions": 0}),
        ("boundary", {"tolerance": 0}),
        ("boundary", {"space": "latent"}),
        ("jacobian", {"n_iter": 0}),
    ],
)
def test_a_senseless_setting_is_one_clear_error_that_names_it(name, settings, net):
    with pytest.raises(ConfigError, match=next(iter(settings))):
        run(name, net, **settings)
