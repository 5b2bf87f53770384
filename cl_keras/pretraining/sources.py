"""The images of a run: those that it trains on, and those that it is judged by."""

import numpy as np

from cl_keras import data
from cl_keras.downstream import duplicates
from cl_keras.downstream.duplicates import groups
from cl_keras.recipes import build
from cl_keras.recipes.config import Config
from cl_keras.runs import Run

MAX_COMPARED = 10_000
"""Up to so many images near-duplicates are looked for before a split; it costs their square."""

MAX_GROUP = 0.1
"""Share of the images up to which near-duplicates are kept together: frames of one film are not."""


def load(config: Config) -> tuple[data.Source, data.Source | None]:
    """The images that a configuration trains on, and those that judge the result, or None.

    The latter are `test_data`, or the share `split` of the images, by a hash of their names or
    pixels; near-duplicates are on one side.

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
    """At most so many images of a source, evenly spread; all where it is read in one order alone.

    Args:
        source: the images.
        most: how many.
    """
    if len(source) <= most or source.can_run_in_service:
        return source
    return data.Subset(source, np.linspace(0, len(source) - 1, most).astype(np.int64))


def _near_duplicates(source):
    """The group of each image, or None where they are not looked for."""
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
