"""The regularisers of both papers, one class a file."""

from jacexp.jacobian.terms import Terms
from jacexp.methods.draws import Noise
from jacexp.methods.hyperparameters import Strength
from jacexp.methods.method import Method
from jacexp.methods.optim import Recipe

__all__ = ["Method", "Noise", "Recipe", "Strength", "Terms"]
