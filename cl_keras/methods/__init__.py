"""The methods, one file each, named as their papers name them."""

from cl_keras.methods.deep_cluster import DeepCluster
from cl_keras.methods.inst_disc import InstDisc
from cl_keras.methods.moco import MoCo
from cl_keras.methods.moco_v3 import MoCoV3
from cl_keras.methods.pcl import PCL
from cl_keras.methods.pirl import PIRL
from cl_keras.methods.simclr import SimCLR
from cl_keras.methods.swav import SwAV

__all__ = [
    "InstDisc",
    "PIRL",
    "PCL",
    "DeepCluster",
    "MoCo",
    "MoCoV3",
    "SimCLR",
    "SwAV",
]
