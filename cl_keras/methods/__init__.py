"""The methods, one file each, named as in their papers."""

from cl_keras.methods.cpc import CPC
from cl_keras.methods.deep_cluster import DeepCluster
from cl_keras.methods.deep_infomax import DeepInfoMax
from cl_keras.methods.inst_disc import InstDisc
from cl_keras.methods.jigsaw import Jigsaw
from cl_keras.methods.moco import MoCo
from cl_keras.methods.moco_v3 import MoCoV3
from cl_keras.methods.pcl import PCL
from cl_keras.methods.pirl import PIRL
from cl_keras.methods.relative_position import RelativePosition
from cl_keras.methods.rotnet import RotNet
from cl_keras.methods.seed import SEED
from cl_keras.methods.simclr import SimCLR
from cl_keras.methods.sup_con import SupCon
from cl_keras.methods.swav import SwAV
from cl_keras.methods.two_tower import TwoTower

__all__ = [
    "CPC",
    "InstDisc",
    "PIRL",
    "PCL",
    "DeepCluster",
    "DeepInfoMax",
    "Jigsaw",
    "MoCo",
    "MoCoV3",
    "RelativePosition",
    "RotNet",
    "SEED",
    "SimCLR",
    "SupCon",
    "SwAV",
    "TwoTower",
]
