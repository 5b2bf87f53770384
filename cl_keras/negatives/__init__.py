"""What a query is pushed away from."""

from cl_keras.negatives.in_batch import in_batch

__all__ = ["in_batch"]
