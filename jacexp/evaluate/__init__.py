"""What is measured on trained networks: each evaluation maps a network and data to a tidy table of counts."""

from jacexp.evaluate.accuracy import accuracy
from jacexp.evaluate.adversarial import adversarial
from jacexp.evaluate.boundary import boundary
from jacexp.evaluate.checks import cross_checks
from jacexp.evaluate.frozen import EvaluationError
from jacexp.evaluate.jacobian import jacobian
from jacexp.evaluate.noise import gaussian, white_noise
from jacexp.evaluate.pgd import pgd, tpgd
from jacexp.evaluate.registry import EVALUATIONS, Evaluation, Outcome, evaluate, find
from jacexp.evaluate.samples import Samples, check_samples
from jacexp.evaluate.torchattacks import autoattack, autoattack_quick, square

__all__ = [
    "EVALUATIONS",
    "Evaluation",
    "EvaluationError",
    "Outcome",
    "Samples",
    "accuracy",
    "adversarial",
    "autoattack",
    "autoattack_quick",
    "boundary",
    "check_samples",
    "cross_checks",
    "evaluate",
    "find",
    "gaussian",
    "jacobian",
    "pgd",
    "square",
    "tpgd",
    "white_noise",
]
