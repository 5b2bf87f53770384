"""A local page for browsing embedded images."""

from cl_keras.explore.collection import Collection
from cl_keras.explore.server import make_server

__all__ = ["Collection", "make_server"]
