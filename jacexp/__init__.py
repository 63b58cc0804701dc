"""Jacobian regularisation of neural networks: exact spectral norms and invariant backpropagation.

The core is usable in any training loop: ``jacexp.linearize`` and the norms over it. ``import jacexp`` alone
imports no torch, so that command lines answer at once.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jacexp.jacobian import (
        exact_jacobian,
        frobenius_norm,
        linearize,
        matrix_norm,
        nuclear_bound,
        singular_values,
        spectral_norm,
    )

__version__ = "0.1.0"
__all__ = [
    "__version__",
    "exact_jacobian",
    "frobenius_norm",
    "linearize",
    "matrix_norm",
    "nuclear_bound",
    "singular_values",
    "spectral_norm",
]


def __getattr__(name: str) -> Any:
    """Import a public name of the core when it is first used."""
    if name not in __all__:
        raise AttributeError(f"module 'jacexp' has no attribute {name!r}")
    value = getattr(import_module("jacexp.jacobian"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the lazy names too."""
    return sorted({*globals(), *__all__})
