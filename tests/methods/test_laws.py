"""Every method in conf/method under the laws of tests/laws.py."""

import pytest

from tests import laws
from tests.networks import WITH_RULES

PER_SAMPLE = [m for m in laws.METHODS if laws.is_per_sample(m)]


@pytest.mark.parametrize("name", laws.METHODS)
def test_shape_and_sign(name):
    laws.shape_and_sign(name)


@pytest.mark.parametrize("name", laws.OF_JACOBIAN)
def test_zero_for_a_constant_network(name):
    laws.zero_for_a_constant_network(name)


@pytest.mark.parametrize(("name", "degree"), [("spec", 1), ("frob", 2), ("tbp", 1)])
def test_homogeneity(name, degree):
    laws.homogeneity(name, degree)


@pytest.mark.parametrize("net", ["conv", "batch_norm", "attention"])
@pytest.mark.parametrize("name", PER_SAMPLE)
def test_independence(name, net):
    laws.independence(name, net)


@pytest.mark.parametrize("net", ["conv", "batch_norm"])
@pytest.mark.parametrize("name", PER_SAMPLE)
def test_order_of_samples(name, net):
    laws.order_of_samples(name, net)


@pytest.mark.parametrize("name", laws.METHODS)
def test_statistics_move_once(name):
    laws.statistics_move_once(name)


@pytest.mark.parametrize("name", [m for m in laws.METHODS if m != "none"])
def test_strength_zero_is_none(name):
    laws.strength_zero_is_none(name)


EXACT = {
    "none": {},
    "l2": {},
    "spec": {"detach": False, "n_iter": 2},
    "frob": {},
    "loss_ibp": {"hessian": True},
    "tbp": {},
}
"""The methods whose gradient is, with these switches, the derivative of their value; others hold something constant."""


@pytest.mark.parametrize("name", EXACT)
def test_gradient_is_that_of_the_value(name):
    laws.gradient_is_that_of_the_value(name, **EXACT[name])


@pytest.mark.parametrize("train", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("net", WITH_RULES)
@pytest.mark.parametrize("name", laws.METHODS)
def test_engines_agree(name, net, train):
    laws.engines_agree(name, net, train=train)


SWITCHED = [
    ("spec", {"n_iter": 3}),
    ("spec", {"power": 2}),
    ("spec", {"detach": False, "n_iter": 2}),
    ("frob", {"n_proj": 0}),
    ("frob", {"n_proj": 3}),
    ("spec", {"detach": False, "n_iter": 3, "power": 2}),
    ("loss_ibp", {"r": 2}),
    ("loss_ibp", {"hessian": True, "r": 2}),
    ("loss_ibp", {"hessian": True}),
    ("at", {"clip": True, "epsilon": 0.3}),
    ("fast_at", {"clip": True, "epsilon": 0.3}),
    ("fast_tbp", {"signed": True}),
    ("pred_ibp", {"softmax": "included"}),
    ("tbp", {"softmax": "included"}),
]


@pytest.mark.parametrize("net", WITH_RULES)
@pytest.mark.parametrize(("name", "switches"), SWITCHED)
def test_engines_agree_at_every_switch(name, switches, net):
    laws.engines_agree(name, net, **switches)
