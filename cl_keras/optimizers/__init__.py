"""Optimizers that Keras lacks (LARS, LARC, SGD with L2), schedules and batch-size rules."""

from cl_keras.optimizers.lars import LARC, LARS
from cl_keras.optimizers.momentum import SGD
from cl_keras.optimizers.schedules import (
    Warmup,
    linear_scaling,
    square_root_scaling,
    warmup_cosine,
    warmup_step_decay,
)

__all__ = [
    "LARC",
    "LARS",
    "SGD",
    "Warmup",
    "linear_scaling",
    "square_root_scaling",
    "warmup_cosine",
    "warmup_step_decay",
]
