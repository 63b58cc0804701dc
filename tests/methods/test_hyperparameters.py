"""What a method's class declares is what its YAML, its constructor and every check know of its hyper-parameters."""

from typing import Any, ClassVar, Literal

import pytest
from omegaconf import OmegaConf

from jacexp.errors import ConfigError
from jacexp.methods import Method
from jacexp.methods.hyperparameters import REQUIRED, Strength
from jacexp.methods.loss_ibp import LossIBP
from jacexp.ranges import AtLeastOne
from jacexp.train.job import method_class
from tests.laws import CONF, METHODS, make
from tests.networks import network


def file_of(name):
    return OmegaConf.load(CONF / "method" / f"{name}.yaml")


@pytest.mark.parametrize("name", METHODS)
def test_the_yaml_lists_what_the_class_declares_with_its_defaults(name):
    cfg = file_of(name)
    cls = method_class(OmegaConf.create({"method": cfg.method}))
    written = {key: value for key, value in cfg.method.items() if key not in ("name", "_target_")}
    assert set(written) == set(cls.hyperparameters)
    defaults = {key: p.default for key, p in cls.hyperparameters.items() if p.default is not REQUIRED}
    assert {key: written[key] for key in defaults} == defaults
    assert set(written) - set(defaults) == ({cls.strength} if cls.strength else set())


@pytest.mark.parametrize("name", METHODS)
def test_the_grid_sweeps_the_strength(name):
    cls = method_class(OmegaConf.create({"method": file_of(name).method}))
    swept = set(file_of(name).get("grid", {}))
    assert swept == ({f"method.{cls.strength}"} if cls.strength else set())


STRENGTHS = [(name, make(name, network("mlp")).method.strength) for name in METHODS if name != "none"]
NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize("value", [-0.1, NAN, INF, -INF, "much", None, True, [0.1]])
@pytest.mark.parametrize(("name", "strength"), STRENGTHS)
def test_a_strength_is_a_finite_number_that_is_not_negative(name, strength, value):
    with pytest.raises(ConfigError, match=rf"method.{strength}=.*: choose a finite number ≥ 0"):
        make(name, network("mlp"), **{strength: value})


@pytest.mark.parametrize(
    ("name", "wrong", "says"),
    [
        *(
            ("spec", {"n_iter": n}, "method.n_iter=.*: choose a whole number, 1 or more")
            for n in (0, 1.5, True, NAN)
        ),
        *(("spec", {"power": p}, "method.power=.*: choose one of 1, 2") for p in (3, "1", 1.0, True)),
        *(("spec", {"detach": d}, "method.detach=.*: choose true or false") for d in (1, "no", None)),
        *(("frob", {"n_proj": n}, "method.n_proj=.*: choose a whole number ≥ 0") for n in (-1, INF)),
        ("l2", {"form": "ridge"}, "method.form=ridge: choose one of sum_squares, weight_decay"),
        ("spec_bound", {"conv": "fourier"}, "method.conv=fourier: choose one of reshaped, operator"),
        ("loss_ibp", {"r": 3}, "method.r=3: choose one of 1, 2"),
        *(
            ("tbp", {"sigma": s}, "method.sigma=.*: choose a finite number greater than 0")
            for s in (0, NAN, INF)
        ),
        ("fast_tbp", {"tangent_unit": "inch"}, "method.tangent_unit=inch: choose one of pixel, half_side"),
        ("at", {"clip": 0.5}, "method.clip=0.5: choose true or false"),
        (
            "frob",
            {"lamda": 1.0},
            r"method.lamda is unknown \(did you mean lam\?\): FrobeniusNorm takes method.lam, m",
        ),
        ("none", {"lam": 1.0}, "method.lam is unknown: Plain takes no hyper-parameter"),
    ],
)
def test_what_a_hyper_parameter_cannot_be_is_refused(name, wrong, says):
    with pytest.raises(ConfigError, match=says):
        make(name, network("mlp"), **wrong)


class OfOnesOwn(Method):
    lam: Strength
    depth: AtLeastOne = 2
    kind: Literal["a", "b"] | None = None
    known: ClassVar[int] = 3

    def penalty(self, lin, batch, noise):
        return lin.logits.square().sum(dim=1)


def test_a_class_of_ones_own_is_its_declaration():
    method = OfOnesOwn(lam=1, kind="b", engine="passes")
    assert (method.lam, method.depth, method.kind, method.engine) == (1.0, 2, "b", "passes")
    assert type(method.lam) is float
    assert list(OfOnesOwn.hyperparameters) == ["lam", "depth", "kind"]
    assert OfOnesOwn.strength == "lam"
    with pytest.raises(ConfigError, match=r"lam is missing: OfOnesOwn takes lam, depth"):
        OfOnesOwn()
    with pytest.raises(ConfigError, match=r"^kind=c: choose one of a, b or null"):
        OfOnesOwn(lam=1, kind="c")


def test_a_subclass_has_its_parents_too():
    class Deeper(OfOnesOwn):
        depth: AtLeastOne = 5
        wide: bool = False

    assert OfOnesOwn(lam=0.1).depth == 2
    assert Deeper(lam=0.1).depth == 5
    assert (list(Deeper.hyperparameters), Deeper.strength) == (["lam", "depth", "kind", "wide"], "lam")


def with_a_constructor():
    class Old(Method):
        def __init__(self, *, lam: float, **settings: Any):
            super().__init__(**settings)
            self.lam = lam


def with_a_name_of_its_strength():
    class Old(Method):
        strength = "lam"
        lam: float = 0.1


def with_two_strengths():
    class Old(Method):
        lam: Strength
        beta: Strength


@pytest.mark.parametrize("define", [with_a_constructor, with_a_name_of_its_strength, with_two_strengths])
def test_a_class_that_does_not_declare_is_told_how(define):
    with pytest.raises(ConfigError, match=r"Old must declare each hyper-parameter.*as `lam: Strength`"):
        define()


def test_an_annotation_of_another_kind_is_refused():
    with pytest.raises(
        ConfigError, match=r"Old.net: .* is no type of a hyper-parameter.*ClassVar for what is none"
    ):

        class Old(Method):
            net: Method


def test_a_switch_that_was_added_later_names_a_run_only_where_it_is_another():
    values = LossIBP.checked({"beta": 0.1})
    assert values["beta_schedule"] == "learning_rate"
    assert LossIBP.named(values) == values
    before = {**values, "beta_schedule": "constant"}
    assert LossIBP.named(before) == {"beta": 0.1, "r": 1, "hessian": False}
