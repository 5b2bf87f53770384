"""The methods, one file each, named as their papers name them."""

from cl_keras.methods.contrastive_model import ContrastiveModel
from cl_keras.methods.moco import MoCo
from cl_keras.methods.moco_v3 import MoCoV3
from cl_keras.methods.simclr import SimCLR

__all__ = ["ContrastiveModel", "MoCo", "MoCoV3", "SimCLR"]
