"""Pretraining of an encoder in one call, with a plan, progress and a verdict."""

from cl_keras.pretraining.training import pretrain, start, train

__all__ = ["pretrain", "start", "train"]
