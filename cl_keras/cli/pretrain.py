"""Trains an encoder on images without labels, and writes a run folder."""

import time

BEGAN = time.perf_counter()
"""Before TensorFlow is imported, which the plan counts in."""

from cl_keras import pretraining  # noqa: E402
from cl_keras.recipes.config import Config, Execution  # noqa: E402


def main(config: Config, execution: Execution) -> None:
    """Plans and trains a run, or resumes it, and ends with the verdict."""
    pretraining.start(config, execution, began=BEGAN)
