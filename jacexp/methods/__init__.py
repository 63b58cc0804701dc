"""The regularisers of both papers, one LightningModule a file."""

from jacexp.methods.base import Noise, RegularizedModule, Terms
from jacexp.methods.optim import Recipe

__all__ = ["Noise", "Recipe", "RegularizedModule", "Terms"]
