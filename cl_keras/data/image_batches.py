"""Turns images in any form into batches, for training and for a single pass."""

from __future__ import annotations

import operator
import warnings
from collections.abc import Iterable
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
    """Turns images in any form into a dataset of batches.

    Raises what `check_one_numbering` raises. Warns if floats are not pixels of 0 … 255, or if
    `shuffle` is requested for a dataset made from shuffled `Batches` that has lost their later
    epochs.

    Args:
        images: a uint8 array, a source of `load`, its `.batches(…)`, or a `tf.data.Dataset`, which
            keeps its own batches and order.
        batch_size: for an array or a source; default: 256, or all images if there are fewer.
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
            "every epoch of this dataset has the order of the first, since it was made from "
            "shuffled batches by a function that does not know their later epochs, such as "
            "tf.data.Dataset.zip. Use the methods of the batches (map, prefetch, take, …) instead.",
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


def one_pass(images: Any) -> tuple[Iterable[Any], int | None]:
    """Images in any form as batches of one pass in inference.

    Args:
        images: a source of `load`, its `.batches(…)`, a finite `tf.data.Dataset`, another iterable
            of elements, or an array or tensor `[n, h, w, c]`.

    Returns:
        (elements, their number or None if it is unknown). Those of an array are `{"image"}`.

    Raises:
        ValueError: an endless dataset, or an array of another rank.
    """
    if hasattr(images, "batches"):
        images = images.batches(DEFAULT_BATCH_SIZE, shuffle=False)
    if isinstance(images, tf.data.Dataset):
        size = int(images.cardinality())
        if size == tf.data.INFINITE_CARDINALITY:
            raise ValueError(
                "Expected one pass over the images; received an endless dataset. Use "
                "source.batches(…) without from_epoch or repeat(), or add .take(steps)."
            )
        return images, size if size >= 0 else None
    if isinstance(images, np.ndarray) or tf.is_tensor(images):
        if len(images.shape) != 4:
            raise ValueError(f"Expected images [n, h, w, c]; received shape {images.shape}.")
        starts = range(0, len(images), DEFAULT_BATCH_SIZE)
        return ({"image": images[i : i + DEFAULT_BATCH_SIZE]} for i in starts), len(starts)
    return images, operator.length_hint(images) or None


def count_steps(batches: tf.data.Dataset, given: int | None = None) -> int:
    """The number of steps per epoch; below 1 if it is not known.

    Args:
        batches: a dataset returned by `image_batches`.
        given: number of steps that the caller asked for; default: None, one per batch.

    Raises:
        ValueError: transformed `Batches` of unknown number, whose order depends on where an epoch
            ends.
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
