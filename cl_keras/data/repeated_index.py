"""Notices a dataset in which many images share an index."""

from __future__ import annotations

import warnings

import numpy as np
import tensorflow as tf

from cl_keras.data.batches import Batches

LEAST_BATCHES = 4
"""Number of batches to look at before a warning."""

REPEATED = 0.6
"""Share of the images in one pass above which repetition is no coincidence: of images drawn with
replacement, at most 0.37 have come before."""


def watch_index(dataset: tf.data.Dataset, num_images: int) -> tf.data.Dataset:
    """The same dataset, which warns once if most of its indices repeat within one pass.

    So it is where a generator numbers the images of each batch from 0 on. The `Batches` of a source
    are numbered right, and are not watched.

    Args:
        dataset: of dictionaries that hold an `"index"`, int `[b]`.
        num_images: N; a pass is taken to have N images.
    """
    if isinstance(dataset, Batches):
        return dataset
    watch = _Watch(num_images)

    @tf.autograph.experimental.do_not_convert
    def watched(element):
        seen = tf.numpy_function(watch.look, [element["index"]], tf.int64)
        with tf.control_dependencies([seen]):
            return tf.nest.map_structure(tf.identity, element)

    return dataset.map(watched)


class _Watch:
    def __init__(self, num_images):
        self.num_images, self.warned = num_images, False
        self.begin()

    def begin(self):
        self.known: set[int] = set()
        self.images = self.batches = 0

    def look(self, index):
        if self.warned:
            return np.int64(0)
        if self.images >= self.num_images:
            self.begin()
        self.known.update(index.tolist())
        self.images += len(index)
        self.batches += 1
        repeated = 1 - len(self.known) / max(self.images, 1)
        if self.batches >= LEAST_BATCHES and repeated > REPEATED:
            self.warned = True
            warnings.warn(
                f"the first {self.images} images of this dataset have only {len(self.known)} "
                "different indices. Images with one index share a row of the memory, as if they "
                f"were one image: number all images of the data set from 0 to {self.num_images - 1}"
                ", not those of each batch.",
                stacklevel=2,
            )
        return np.int64(0)
