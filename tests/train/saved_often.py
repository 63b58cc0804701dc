"""A method whose stacks are saved several times a second, so that a kill finds them half written."""

from jacexp.methods.spec import SpectralNorm
from jacexp.train import recorder

recorder.SAVE_STACK_EVERY = 0.2


class SavedOften(SpectralNorm):
    """The exact spectral norm; that its module was imported is what counts."""
