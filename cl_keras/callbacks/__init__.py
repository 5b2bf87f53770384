"""Callbacks that watch a training run."""

from cl_keras.callbacks.health import Health
from cl_keras.callbacks.samples import Samples

__all__ = ["Health", "Samples"]
