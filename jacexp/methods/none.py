"""Plain training."""

from jacexp.methods.method import Method


class Plain(Method):
    """Mean cross-entropy alone: the row "None" of Johansson et al. and "Standard BP" of Demyanov et al."""
