"""The papers' claims, a row of the scorecard for each data set or network that one is about, with its tests.

What is no number in a paper is made one here, by name: see the constants.
"""

from jacexp.report.claim import Claim
from jacexp.report.comparisons import (
    better,
    better_than_most,
    by_far,
    gain_falls_with_size,
    gain_under_augmentation,
    no_better,
    ratio_of_best,
    same,
)
from jacexp.report.cost_comparisons import error_falls, faster, time_ratio
from jacexp.report.curve_comparisons import (
    alike_under,
    as_far,
    better_everywhere,
    farther,
    no_steeper,
    none_dominates,
    steeper,
    strongest_under,
    worse_somewhere,
)
from jacexp.report.paper import EXPERIMENTS, METHODS, Experiment

BY_FAR = 2.0
"""``tbp`` is best by far: its gain over ``none`` is more than so many times that of any other method."""

ABOUT_TWICE = (4 / 3, 3.0)
"""The best epsilon of ``at`` is about twice that of ``fast_at``: within a factor 1.5 of 2."""

TIME_MARGIN = 1.1
"""A ratio of times is the paper's if it is within this factor of it."""

OVER_20_PERCENT = 1 / (1 - 0.20)
"""``fast_tbp`` saves over 20 %: ``tbp`` takes more than so many times its time."""

LITTLE = 5.0
"""A difference under white noise is little: below so many points of accuracy, on the mean over the curve."""

ALIKE = 1.1
"""Distances are alike if their geometric means differ by less than this factor."""

HUNDREDFOLD = (10**1.5, 10**2.5)
"""About 100 times faster: within half an order of magnitude."""

QUICKLY = 0.5
"""The relative error falls quickly: after 5 power iterations it is less than this share of that after 1."""

FAR_BELOW = 0.1
"""The relative error after 1 power iteration is far below the bound's: less than this share of it."""


MNIST, CIFAR_10K = EXPERIMENTS["P1"]
CIFAR, KMNIST, FMNIST = EXPERIMENTS["P2"]

SHOWN = ("pred_ibp", "loss_ibp", "at")
"""The methods of P1's Figures 2 and 3 beside ``none`` and ``tbp``."""

OTHERS = tuple(m for m in METHODS["P2"] if m != "spec")
REGULARISED = tuple(m for m in METHODS["P2"] if m != "none")
ATTACKS = ("pgd", "tpgd", "square")


def _curves(*experiments: Experiment) -> dict[Experiment, str]:
    return dict.fromkeys(experiments, "curves")


CLAIMS = (
    Claim(
        "P1-a",
        "Table 1, Section 5.1",
        "every method but fast_tbp lowers the error of none",
        {MNIST: "1.21 % to 0.90, 1.09, 0.89, 0.89, 1.07; fast_tbp 1.21"},
        (
            *(better(m, "none") for m in ("pred_ibp", "loss_ibp", "at", "fast_at", "tbp")),
            no_better("fast_tbp", "none"),
        ),
    ),
    Claim(
        "P1-a",
        "Table 1, Section 5.1",
        "AT does not lower the error of none",
        {CIFAR_10K: "34.7 %, at and fast_at 34.7"},
        (no_better("at", "none"), no_better("fast_at", "none")),
    ),
    Claim(
        "P1-b",
        "Table 1, Section 5.1",
        "pred_ibp beats loss_ibp",
        {MNIST: "0.90 against 1.09 %", CIFAR_10K: "32.6 against 33.1 %"},
        (better("pred_ibp", "loss_ibp"),),
    ),
    Claim(
        "P1-c",
        "Table 1, Section 5.1",
        "at and fast_at are the same in error",
        {MNIST: "0.89 and 0.89 %", CIFAR_10K: "34.7 and 34.7 %"},
        (same("at", "fast_at"),),
    ),
    Claim(
        "P1-c-epsilon",
        "Table 1, Section 4.2",
        "at's best epsilon is about twice fast_at's",
        {MNIST: "0.05 and 0.03"},
        (ratio_of_best("at", "fast_at", *ABOUT_TWICE),),
    ),
    Claim(
        "P1-d",
        "Table 1, Section 5.1",
        "pred_ibp and AT are best",
        {MNIST: "0.90, 0.89, 0.89 against 1.07 to 1.21 %"},
        tuple(better(m, "none", "loss_ibp", "tbp", "fast_tbp") for m in ("pred_ibp", "at", "fast_at")),
    ),
    Claim(
        "P1-d",
        "Table 1, Section 5.1",
        "tbp is best by far",
        {CIFAR_10K: "27.2 against 32.6 to 34.7 %"},
        (
            better("tbp", "none", "pred_ibp", "loss_ibp", "at", "fast_at", "fast_tbp"),
            by_far("tbp", BY_FAR, "pred_ibp", "loss_ibp", "at", "fast_at", "fast_tbp"),
        ),
    ),
    Claim(
        "P1-e-loss_ibp",
        "Table 1, Section 3.3",
        "a step of loss_ibp takes 1.49 times one of none",
        {MNIST: "1.49", CIFAR_10K: "1.49"},
        (time_ratio("loss_ibp", "none", margin=TIME_MARGIN),),
        of_network=True,
    ),
    Claim(
        "P1-e-pred_ibp",
        "Table 1, Section 3.3",
        "a step of pred_ibp takes 1.75 to 1.83 times one of none",
        {MNIST: "1.75", CIFAR_10K: "1.83"},
        (time_ratio("pred_ibp", "none", margin=TIME_MARGIN),),
        of_network=True,
    ),
    Claim(
        "P1-e-fast_at",
        "Table 1, Section 4",
        "a step of fast_at takes 13–17 % less than one of at",
        {MNIST: "at over fast_at 1.17", CIFAR_10K: "at over fast_at 1.13"},
        (time_ratio("at", "fast_at", margin=TIME_MARGIN),),
        of_network=True,
    ),
    Claim(
        "P1-e-fast_tbp",
        "Table 1, Section 4",
        "a step of fast_tbp takes over 20 % less than one of tbp",
        {MNIST: "tbp over fast_tbp 1.39", CIFAR_10K: "tbp over fast_tbp 1.51"},
        (time_ratio("tbp", "fast_tbp", over=OVER_20_PERCENT),),
        of_network=True,
    ),
    Claim(
        "P1-f-at",
        "Figure 2, Section 5.2",
        "AT alone is better than none at every epsilon",
        _curves(MNIST, CIFAR_10K),
        (
            better_everywhere("adversarial", "at", "none"),
            *(worse_somewhere("adversarial", m, "none") for m in ("pred_ibp", "loss_ibp", "tbp")),
        ),
    ),
    Claim(
        "P1-f-tbp",
        "Figure 2, Section 5.2",
        "tbp degrades fastest under adversarial noise",
        _curves(MNIST, CIFAR_10K),
        (steeper("adversarial", "tbp", "none", *SHOWN),),
    ),
    Claim(
        "P1-g-none",
        "Figure 3, Section 5.3",
        "none is the most robust to Gaussian noise",
        _curves(MNIST),
        tuple(steeper("gaussian", m, "none") for m in (*SHOWN, "tbp")),
    ),
    Claim(
        "P1-g-tbp",
        "Figure 3, Section 5.3",
        "tbp is the least robust to Gaussian noise",
        _curves(MNIST),
        (steeper("gaussian", "tbp", "none", *SHOWN),),
    ),
    Claim(
        "P1-g-tbp",
        "Figure 3, Section 5.3",
        "tbp alone degrades faster than none under Gaussian noise",
        _curves(CIFAR_10K),
        (
            steeper("gaussian", "tbp", "none", *SHOWN),
            *(no_steeper("gaussian", m, "none") for m in SHOWN),
        ),
    ),
    Claim(
        "P1-h",
        "Figure 4, Section 5.4",
        "pred_ibp's relative gain falls with the size of the set",
        {MNIST: "43 % at 1k, 18 % at 60k"},
        (gain_falls_with_size,),
    ),
    Claim(
        "P1-h-augmented",
        "Figure 4, Section 5.4",
        "with augmentation pred_ibp's relative gain is smaller, not zero",
        _curves(MNIST),
        (gain_under_augmentation,),
    ),
    Claim(
        "P2-a",
        "Table 1, Section 4.1",
        "spec is best and significantly above spec_bound",
        {KMNIST: "96.61 %; spec_bound 95.72 %", FMNIST: "91.10 %; spec_bound 90.66 %"},
        (better("spec", *OTHERS),),
    ),
    Claim(
        "P2-a",
        "Table 1, Section 4.1",
        "spec is second or first",
        {CIFAR: "90.20 %; frob 90.21 %"},
        (better_than_most("spec", *OTHERS),),
    ),
    Claim(
        "P2-b-noise",
        "Figure 3, Section 4.2",
        "little difference between the methods under white noise",
        _curves(KMNIST, FMNIST),
        (alike_under("white_noise", LITTLE, *METHODS["P2"]),),
    ),
    Claim(
        "P2-b-attack",
        "Figure 3, Section 4.2",
        "no method dominates under attack",
        _curves(KMNIST, FMNIST),
        (none_dominates(ATTACKS, *METHODS["P2"]),),
    ),
    Claim(
        "P2-b-spec",
        "Figure 3, Section 4.2",
        "spec is strongest under PGD and TPGD",
        _curves(KMNIST),
        (strongest_under(("pgd", "tpgd"), "spec", *OTHERS),),
    ),
    Claim(
        "P2-c",
        "Figure 4, Section 4.2.3",
        "spec and frob enlarge the regions",
        {FMNIST: "distributions"},
        (farther(("spec", "frob"), ("none", "l2", "spec_bound")),),
    ),
    Claim(
        "P2-c",
        "Figure 4, Section 4.2.3",
        "all regularised methods have regions alike",
        {KMNIST: "distributions"},
        (as_far(ALIKE, *REGULARISED),),
    ),
    Claim(
        "P2-d-time",
        "Figure 5, Section 4.3",
        "spec is about 100 times faster than the analytical norm",
        {KMNIST: "two orders of magnitude"},
        (faster("analytical", "spec", 100.0, *HUNDREDFOLD),),
        of_network=True,
    ),
    Claim(
        "P2-d-error",
        "Figure 5, Section 4.3",
        "spec's relative error falls quickly and is far below the bound's",
        {KMNIST: "curves"},
        (error_falls(QUICKLY, FAR_BELOW),),
        of_network=True,
    ),
)

ROWS = {id_: row for claim in CLAIMS for id_, row in claim.rows().items()}
"""The rows of the scorecard by id, in the order of the papers."""
