"""From images to a trained encoder in one call: the plan, the training, and its progress."""

from cl_keras.pretraining.training import pretrain, start, train

__all__ = ["pretrain", "start", "train"]
