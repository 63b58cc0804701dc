"""The regularisers of both papers, one LightningModule a file."""

from jacexp.methods.base import RegularizedModule, Terms
from jacexp.methods.draws import Noise
from jacexp.methods.optim import Recipe

__all__ = ["Noise", "Recipe", "RegularizedModule", "Terms"]
