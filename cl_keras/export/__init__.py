"""Exports a trained encoder for serving."""

from cl_keras.export.saved_model import saved_model

__all__ = ["saved_model"]
