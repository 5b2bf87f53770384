"""Runs and their folders: configuration, metrics, checkpoints, and resuming."""

from cl_keras.runs.checkpoint_callback import CheckpointCallback
from cl_keras.runs.checkpoints import Checkpoints, Position
from cl_keras.runs.metrics_log import MetricsLog, read_metrics
from cl_keras.runs.run import Run
from cl_keras.stopping import Preempted

__all__ = [
    "CheckpointCallback",
    "Checkpoints",
    "MetricsLog",
    "Preempted",
    "Position",
    "Run",
    "read_metrics",
]
