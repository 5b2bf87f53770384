"""How one image becomes several."""

from cl_keras.views.grid import view_grid
from cl_keras.views.two_views import TwoViews, simclr

__all__ = ["TwoViews", "simclr", "view_grid"]
