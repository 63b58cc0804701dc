import json

import pandas as pd
import pytest
import torch

from jacexp.evaluate.checks import cross_checks, flags, vanished, weaker_than_noise, zero_gradient


def outcomes(both: int, attack_only: int, noise_only: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Make answers of samples that survive both, the attack alone, and the noise alone."""
    attack = [True] * (both + attack_only) + [False] * noise_only
    noise = [True] * both + [False] * attack_only + [True] * noise_only
    return torch.tensor(attack), torch.tensor(noise)


def test_flags_are_joined_without_those_that_are_not_raised():
    assert flags("", "a", "", "b=2") == "a;b=2"
    assert flags("", "") == ""


@pytest.mark.parametrize(
    ("attack_only", "noise_only", "raised"),
    [
        (0, 0, False),
        (0, 50, False),
        (9, 0, False),
        (10, 0, True),
        (60, 40, False),
        (64, 36, False),
        (66, 34, True),
    ],
)
def test_weaker_than_noise_needs_three_deviations_of_a_coin(attack_only, noise_only, raised):
    flag = weaker_than_noise(*outcomes(100, attack_only, noise_only))
    assert flag == ("weaker_than_noise" if raised else "")


def test_zero_gradient_tolerates_one_in_a_hundred():
    assert zero_gradient(torch.arange(200) < 2) == ""
    assert zero_gradient(torch.arange(200) < 3) == "zero_gradient=3"


def test_vanished_are_zero_gradients_and_losses_that_round_to_zero():
    gradient = torch.ones(4, 1, 2, 2)
    gradient[0] = 0
    gradient[1, 0, 0, 0] = 0
    logits = torch.tensor([[0.0, 0.0], [0.0, 0.0], [200.0, 0.0], [200.0, 0.0]])
    assert vanished(gradient, logits, torch.tensor([0, 0, 0, 1])).tolist() == [True, False, True, False]


def curve(
    run: str, name: str, counts: dict[int, int], delta: float = 0.1, check: object = "", n: int = 1000
) -> list[dict]:
    settings = json.dumps({"delta": delta})
    return [
        {"run": run, "eval": name, "value": v, "n": n, "n_correct": c, "check": check, "settings": settings}
        for v, c in counts.items()
    ]


def test_cross_checks_mark_the_attack_that_is_weaker_than_it_should_be():
    curves = pd.DataFrame(
        curve("fine", "pgd", {0: 900, 10: 500, 40: 300})
        + curve("fine", "square", {0: 900, 1000: 400})
        + curve("fine", "autoattack", {0: 290})
        + curve("masked", "pgd", {0: 900, 40: 600}, check="zero_gradient=20")
        + curve("masked", "square", {0: 900, 1000: 400})
        + curve("masked", "autoattack", {0: 700}, check=float("nan"))
        + curve("close", "pgd", {40: 430})
        + curve("close", "square", {1000: 400})
        + curve("other ball", "pgd", {40: 600})
        + curve("other ball", "square", {1000: 100}, delta=0.2)
        + curve("two balls", "pgd", {40: 600})
        + curve("two balls", "square", {1000: 400})
        + curve("two balls", "pgd", {80: 100}, delta=0.2)
        + curve("two balls", "square", {2000: 300}, delta=0.2)
        + [
            {
                "run": "masked",
                "eval": "accuracy",
                "value": float("nan"),
                "n": 1000,
                "n_correct": 900,
                "settings": "{}",
            }
        ]
    )
    before = curves.copy()
    checked = cross_checks(curves)
    pd.testing.assert_frame_equal(curves, before)
    marked = checked[checked["check"].fillna("") != curves["check"].fillna("")]
    assert marked[["run", "eval", "value", "check"]].to_numpy().tolist() == [
        ["masked", "pgd", 40, "zero_gradient=20;black_box_stronger"],
        ["masked", "autoattack", 0, "weaker_than_pgd"],
        ["two balls", "pgd", 40, "black_box_stronger"],
    ]
    pd.testing.assert_frame_equal(cross_checks(checked), checked)


def test_cross_checks_of_nothing_are_nothing():
    curves = pd.DataFrame(curve("a", "gaussian", {0: 900}))
    pd.testing.assert_frame_equal(cross_checks(curves), curves)
