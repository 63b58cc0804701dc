"""Products with the input-output Jacobian of a network, and its norms, one a sample."""

from jacexp.errors import NoRuleError
from jacexp.jacobian.explicit import has_explicit_steps, why_not_stacked
from jacexp.jacobian.linearize import Engine, Linearization, linearize
from jacexp.jacobian.norms import exact_jacobian, frobenius_norm
from jacexp.jacobian.rules.base import Rule, register_function, register_rule
from jacexp.jacobian.spectral import Estimate, spectral_norm
from jacexp.jacobian.spectrum import SingularValues, matrix_norm, nuclear_bound, singular_values
from jacexp.jacobian.step import (
    PLAIN,
    Factor,
    Objective,
    Passed,
    Step,
    along,
    explicit_loss,
    scaled,
    value_and_grads,
)
from jacexp.jacobian.terms import Terms

__all__ = [
    "PLAIN",
    "Engine",
    "Estimate",
    "Factor",
    "Linearization",
    "NoRuleError",
    "Objective",
    "Passed",
    "Rule",
    "SingularValues",
    "Step",
    "Terms",
    "along",
    "exact_jacobian",
    "explicit_loss",
    "frobenius_norm",
    "has_explicit_steps",
    "linearize",
    "matrix_norm",
    "nuclear_bound",
    "register_function",
    "register_rule",
    "scaled",
    "singular_values",
    "spectral_norm",
    "value_and_grads",
    "why_not_stacked",
]
