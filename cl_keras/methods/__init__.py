"""The methods, one file each, named as their papers name them."""

from cl_keras.methods.contrastive_model import ContrastiveModel
from cl_keras.methods.simclr import SimCLR

__all__ = ["ContrastiveModel", "SimCLR"]
