"""Random views of images: crops, colors, patches and rotations."""

from cl_keras.views.augmenter import KerasViews
from cl_keras.views.grid import view_grid
from cl_keras.views.jigsaw import JigsawViews, PIRLViews, distant_permutations, jigsaw, pirl
from cl_keras.views.patch_grid import PatchGrid, patch_grid
from cl_keras.views.patches import Labeled
from cl_keras.views.published import (
    byol,
    dino,
    inst_disc,
    moco_v1,
    moco_v2,
    moco_v3,
    simclr,
    swav,
)
from cl_keras.views.random_views import RandomViews
from cl_keras.views.relative_position import RelativePositionViews, relative_position
from cl_keras.views.rotations import Rotations, rotations
from cl_keras.views.view import View, changed

__all__ = [
    "KerasViews",
    "JigsawViews",
    "Labeled",
    "PIRLViews",
    "PatchGrid",
    "RandomViews",
    "RelativePositionViews",
    "Rotations",
    "View",
    "byol",
    "changed",
    "dino",
    "distant_permutations",
    "inst_disc",
    "jigsaw",
    "moco_v1",
    "moco_v2",
    "moco_v3",
    "patch_grid",
    "pirl",
    "relative_position",
    "rotations",
    "simclr",
    "swav",
    "view_grid",
]
