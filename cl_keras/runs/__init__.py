"""A run and its folder: what was asked, what happened, and how to take it up again."""

from cl_keras.runs.checkpoints import CheckpointCallback, Checkpoints
from cl_keras.runs.metrics_log import MetricsLog, read_metrics
from cl_keras.runs.run import Run

__all__ = ["CheckpointCallback", "Checkpoints", "MetricsLog", "Run", "read_metrics"]
