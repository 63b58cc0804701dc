"""The regularisers of both papers, one LightningModule a file."""

from jacexp.jacobian.terms import Terms
from jacexp.methods.base import RegularizedModule
from jacexp.methods.draws import Noise
from jacexp.methods.hyperparameters import Strength
from jacexp.methods.optim import Recipe

__all__ = ["Noise", "Recipe", "RegularizedModule", "Strength", "Terms"]
