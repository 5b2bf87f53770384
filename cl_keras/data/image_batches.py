"""Images in any form as batches."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import tensorflow as tf

from cl_keras.data.batches import Batches, repeats_one_order
from cl_keras.data.loading import load
from cl_keras.data.pixel_range import watch_scale
from cl_keras.data.source import Source

DEFAULT_BATCH_SIZE = 256


def image_batches(
    images: Any,
    batch_size: int | None = None,
    *,
    seed: int = 0,
    shuffle: bool = False,
    drop_remainder: bool = False,
) -> tf.data.Dataset:
    """Images in any form as a dataset of batches.

    Refuses what `check_one_numbering` finds. Warns where floats are not pixels of 0 … 255, and
    where a dataset made of shuffled `Batches` has lost their later epochs and is to be shuffled.

    Args:
        images: a uint8 array, a source of `load`, its `.batches(…)`, or a `tf.data.Dataset`, which
            has batches and an order of its own.
        batch_size: of an array or a source; default: 256, or all images where there are fewer.
        seed: of the order of an array or a source; default: 0.
        shuffle: whether an array or a source gets a new order in each epoch; default: False.
        drop_remainder: leave out a smaller last batch of an array or a source; default: False.

    Raises:
        TypeError, ValueError: images in another form, or a `batch_size` for a dataset.
    """
    if isinstance(images, np.ndarray) or tf.is_tensor(images):
        images = load(np.asarray(images))
    if isinstance(images, Source):
        size = batch_size or min(DEFAULT_BATCH_SIZE, len(images))
        return images.batches(size, seed=seed, shuffle=shuffle, drop_remainder=drop_remainder)
    if not isinstance(images, tf.data.Dataset):
        raise ValueError(
            "images must be a uint8 array, a source of data.load, its .batches(...), or a "
            f"tf.data.Dataset; received {type(images).__name__}."
        )
    if batch_size is not None:
        raise ValueError("batch_size is for arrays and sources; a dataset brings its own batches.")
    if shuffle and repeats_one_order(images):
        warnings.warn(
            "every epoch of this dataset has the order of the first, since it is made of shuffled "
            "batches by a function that does not know their later epochs, such as "
            "tf.data.Dataset.zip: use the methods of the batches (map, prefetch, take, …) instead.",
            stacklevel=2,
        )
    check_one_numbering(images)
    return watch_scale(images)


def check_one_numbering(dataset: tf.data.Dataset) -> None:
    """Refuses a dataset in which two images may have one index, or of which half would be lost.

    Raises:
        ValueError: it was put together of several sources, each of which numbers its images from
            0; or its elements are pairs of two sources' batches.
    """
    sources = _sources_of(dataset)
    if len(sources) > 1:
        names = " and ".join(source.name for source in list(sources.values())[:2])
        raise ValueError(
            f"{names} both number their images from 0, so that in one dataset two images would "
            "share an index. Join the sources instead: data.join([first, second]).batches(…)."
        )
    spec = dataset.element_spec
    if isinstance(spec, tuple) and sum("image" in part for part in spec if _is_dict(part)) > 1:
        raise ValueError(
            "each element of this dataset holds the batches of several datasets, of which only the "
            "first would be used. Join the sources, data.join([first, second]).batches(…); or, "
            "for a method of pairs, map the elements to one dictionary."
        )


def _is_dict(value) -> bool:
    return isinstance(value, dict)


def _sources_of(dataset) -> dict:
    """The sources whose batches come one after the other in a dataset, by identity.

    What `zip` puts together belongs together, and counts as one.
    """
    if isinstance(dataset, Batches):
        return {id(dataset.source): dataset.source}
    found: dict = {}
    for part in dataset._inputs():
        found |= _sources_of(part)
        if found and type(dataset).__name__ == "_ZipDataset":
            break
    return found


def count_steps(batches: tf.data.Dataset, given: int | None = None) -> int:
    """The number of steps of an epoch; below 1 where it is not known.

    Args:
        batches: what `image_batches` gave.
        given: how many steps the caller wants; default: None, as many as there are batches.

    Raises:
        ValueError: transformed `Batches` of unknown number; where an epoch ends decides the order.
    """
    if given is not None:
        return int(given)
    if not isinstance(batches, Batches):
        return int(batches.cardinality())
    if batches.steps_per_epoch is None:
        unknown = ", ".join(transform.name for transform in batches.transforms)
        raise ValueError(
            f"the number of batches after {unknown} is not known. Give steps_per_epoch, or append "
            ".apply(tf.data.experimental.assert_cardinality(number))."
        )
    return batches.steps_per_epoch
