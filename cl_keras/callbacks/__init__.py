"""Callbacks that monitor training."""

from cl_keras.callbacks.health import Health
from cl_keras.callbacks.samples import Samples

__all__ = ["Health", "Samples"]
