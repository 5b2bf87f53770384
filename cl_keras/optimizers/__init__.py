"""What Keras has not: LARS, and the schedules and batch-size rules of the field."""

from cl_keras.optimizers.lars import LARS
from cl_keras.optimizers.schedules import linear_scaling, square_root_scaling, warmup_cosine

__all__ = ["LARS", "linear_scaling", "square_root_scaling", "warmup_cosine"]
