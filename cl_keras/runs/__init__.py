"""A run and its folder: what was asked, what happened, and how to take it up again."""

from cl_keras.runs.checkpoint_callback import CheckpointCallback
from cl_keras.runs.checkpoints import Checkpoints, Place
from cl_keras.runs.metrics_log import MetricsLog, read_metrics
from cl_keras.runs.run import Run
from cl_keras.runs.stopping import Preempted

__all__ = [
    "CheckpointCallback",
    "Checkpoints",
    "MetricsLog",
    "Place",
    "Preempted",
    "Run",
    "read_metrics",
]
