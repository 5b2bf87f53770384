"""Trains an encoder on images without labels, and writes a run folder."""

from cl_keras import pretraining
from cl_keras.recipes.config import Config, Execution


def main(config: Config, execution: Execution) -> None:
    """Plans and trains a run, or resumes it."""
    pretraining.start(config, execution)
