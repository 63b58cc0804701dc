"""Products with the input-output Jacobian of a network, and its norms, one a sample."""

from jacexp.jacobian.linearize import Engine, Linearization, linearize
from jacexp.jacobian.norms import exact_jacobian, frobenius_norm, spectral_norm

__all__ = ["Engine", "Linearization", "exact_jacobian", "frobenius_norm", "linearize", "spectral_norm"]
