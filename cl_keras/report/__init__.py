"""Plots and the HTML report of a run, from logs and arrays only."""

from cl_keras.report.page import write
from cl_keras.report.pictures import image_grid
from cl_keras.report.plots import curve_figures, map_figure

__all__ = ["curve_figures", "image_grid", "map_figure", "write"]
