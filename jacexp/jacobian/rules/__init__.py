"""What each layer does in forward, forward mode and backward mode; importing the package registers every rule."""

from jacexp.errors import NoRuleError
from jacexp.jacobian.rules import batchnorm, functions, pointwise, pooling, stacked, weighted
from jacexp.jacobian.rules.base import Rule, register_function, register_rule

__all__ = [
    "NoRuleError",
    "Rule",
    "batchnorm",
    "functions",
    "pointwise",
    "pooling",
    "register_function",
    "register_rule",
    "stacked",
    "weighted",
]
