"""The images of a run for training and evaluation."""

import numpy as np

from cl_keras import data
from cl_keras.downstream import duplicates
from cl_keras.downstream.duplicates import groups
from cl_keras.recipes import build
from cl_keras.recipes.config import Config
from cl_keras.runs import Run

MAX_COMPARED = 10_000
"""Maximum number of images among which a split looks for near-duplicates, in quadratic time."""

MAX_GROUP = 0.1
"""Maximum share of the images in a group of near-duplicates; larger groups, such as the frames of a
film, are split."""


def load(config: Config) -> tuple[data.Source, data.Source | None]:
    """The training images of a configuration, and its test images or None.

    The test images are `test_data`, or the share `split` of the images, by a hash of their names or
    pixels; near-duplicates are kept together.

    Args:
        config: a `Config`.

    Raises:
        OSError: if the images cannot be read.
        ValueError: if they cannot be split.
    """
    source = build.load_data(config.data, config)
    if config.test_data is not None:
        return source, build.load_data(config.test_data, config)
    if not config.split:
        return source, None
    return data.split(source, config.split, groups=_near_duplicates(source))


def some(source: data.Source, most: int) -> data.Source:
    """Evenly spaced images of a source; all of them if it can only be read in order.

    Args:
        source: the images.
        most: maximum number of images.
    """
    if len(source) <= most or source.can_run_in_service:
        return source
    return data.Subset(source, np.linspace(0, len(source) - 1, most).astype(np.int64))


def _near_duplicates(source):
    """The group of near-duplicates of each image, or None to split all images individually."""
    if len(source) > MAX_COMPARED:
        return None
    found = groups(duplicates(source), len(source))
    largest = np.bincount(found).max()
    return found if largest <= max(1, MAX_GROUP * len(source)) else None


def config_of(run: Run) -> Config:
    """The configuration of a run.

    Raises:
        ValueError: if it is not valid.
    """
    return Config.from_dict(run.config, f"{run.folder}/config.json")
