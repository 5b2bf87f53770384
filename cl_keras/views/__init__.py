"""How one image becomes several."""

from cl_keras.views.grid import view_grid
from cl_keras.views.jigsaw import Jigsaw, PIRLViews, jigsaw, pirl
from cl_keras.views.multi_crop import MultiCrop, multi_crop
from cl_keras.views.one_view import OneView, inst_disc
from cl_keras.views.two_views import TwoViews, simclr

__all__ = [
    "Jigsaw",
    "OneView",
    "PIRLViews",
    "inst_disc",
    "jigsaw",
    "pirl",
    "MultiCrop",
    "TwoViews",
    "multi_crop",
    "simclr",
    "view_grid",
]
