"""The networks of both papers, exact to the layer, with their normalisation inside."""

from jacexp.models.architectures import ARCHITECTURES, build
from jacexp.models.init import SCHEMES, initialize
from jacexp.models.network import Network, Normalize, as_network

__all__ = ["ARCHITECTURES", "SCHEMES", "Network", "Normalize", "as_network", "build", "initialize"]
