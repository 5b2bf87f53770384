"""How one image becomes several."""

from cl_keras.views.grid import view_grid
from cl_keras.views.multi_crop import MultiCrop, multi_crop
from cl_keras.views.two_views import TwoViews, simclr

__all__ = ["MultiCrop", "TwoViews", "multi_crop", "simclr", "view_grid"]
