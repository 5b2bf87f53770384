"""Callbacks that watch a training run."""

from cl_keras.callbacks.health import Health

__all__ = ["Health"]
