"""Networks on top of the encoder that are used only in training."""

from cl_keras.heads.joint import joint_classifier
from cl_keras.heads.patches import patch_head
from cl_keras.heads.projection import linear, mlp, projection, simclr_v1, simclr_v2, swav
from cl_keras.heads.prototypes import Prototypes

__all__ = [
    "Prototypes",
    "joint_classifier",
    "linear",
    "mlp",
    "patch_head",
    "projection",
    "simclr_v1",
    "simclr_v2",
    "swav",
]
