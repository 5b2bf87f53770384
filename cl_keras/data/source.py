"""What every source of images offers."""

import abc

import numpy as np
import tensorflow as tf

from cl_keras.data.batches import Batches
from cl_keras.data.order import order
from cl_keras.files import write_atomically

PARALLEL_BATCHES = 2  # batches read at the same time


class Source(abc.ABC):
    """Images with stable, dense indices 0 … N-1, all of one shape.

    Made by `cl_keras.data.load`. A source of one's own writes `_read`, and passes the rest to the
    constructor.

    Args:
        name: str, what the source is called in messages and reports.
        num_images: int, N.
        image_shape: (height, width, channels), channels 1 or 3.
        labels: integers [N]. Default: None, no labels.
        class_names: list of str, the name of label 0, 1, …. Default: None.
        names: list of N str, file names. Default: None.
    """

    def __init__(self, name, num_images, image_shape, *, labels=None, class_names=None, names=None):
        self.name = name
        self.num_images = num_images
        self.image_shape = tuple(image_shape)
        self.class_names = class_names
        self.names = names
        self._labels = None if labels is None else as_labels(labels, num_images, "images")

    def __len__(self):
        return self.num_images

    def __repr__(self):
        shape = "×".join(str(size) for size in self.image_shape)
        return f"<{type(self).__name__} {self.name!r}: {self.num_images} images of {shape}>"

    @property
    def has_labels(self):
        """bool: whether elements carry a label. Never costs a pass over the data."""
        return self._labels is not None

    @property
    def labels(self):
        """int64 array [N], or None."""
        return self._labels

    @property
    def can_run_in_service(self):
        """bool: whether TensorFlow alone reads the images, in whatever process."""
        return False

    @property
    def shuffles_whole(self):
        """bool: whether, shuffled, every image may come at any moment of an epoch."""
        return True

    @property
    def skipped(self):
        """List of (name, reason): what could not be read, so far."""
        return []

    def images(self, indices):
        """Reads some images.

        Args:
            indices: integers [n], each in 0 … N-1, in any order.

        Returns:
            uint8 array [n, H, W, C].

        Raises:
            IndexError: an index outside 0 … N-1.
        """
        indices = np.asarray(indices, dtype=np.int64).reshape(-1)
        outside = indices[(indices < 0) | (indices >= self.num_images)]
        if outside.size:
            raise IndexError(
                f"{self.name} has images 0 to {self.num_images - 1}, received index {outside[0]}."
            )
        if not indices.size:
            return np.zeros((0, *self.image_shape), np.uint8)
        return self._read(indices)[0]

    def batches(self, batch_size, *, seed=0, shuffle=True, drop_remainder=None):
        """The images as a `tf.data.Dataset` of batches; see `Batches`.

        Args:
            batch_size: int ≥ 1, images in a batch, over all replicas.
            seed: int, with the epoch it decides the order. Default: 0.
            shuffle: bool, a new order in each epoch, or else the order of the indices.
                Default: True.
            drop_remainder: bool, leave out the last batch of an epoch where it is smaller than
                the others. Default: None, the same as `shuffle`.

        Returns:
            `Batches`.

        Raises:
            TypeError, ValueError: no usable batch size or seed, or fewer images than one batch
                where the remainder is dropped.
        """
        return Batches(self, batch_size, seed=seed, shuffle=shuffle, drop_remainder=drop_remainder)

    def epoch(self, epoch, batch_size, *, seed, shuffle, drop_remainder, skip=0, share=(0, 1)):
        """One epoch as a dataset; what `Batches` is made of.

        Args:
            epoch: int64 scalar tensor; may be symbolic.
            batch_size, seed, shuffle, drop_remainder: as in `batches`, all given.
            skip: int64 scalar tensor, batches at the beginning to leave out, unread. Default: 0.
            share: (worker, workers): of each batch, read only the rows of that worker.

        Returns:
            `tf.data.Dataset` of `{"image", "index"[, "label"]}`.
        """
        if shuffle:
            indices = order(seed, epoch, self.num_images)
        else:
            indices = tf.range(self.num_images, dtype=tf.int64)
        worker, workers = share
        rows = batch_size // workers

        @tf.autograph.experimental.do_not_convert
        def of_worker(batch):
            return batch[worker * rows : (worker + 1) * rows]

        batches = tf.data.Dataset.from_tensor_slices(indices[skip * batch_size :]).batch(
            batch_size, drop_remainder=drop_remainder
        )
        return (batches.map(of_worker) if workers > 1 else batches).map(
            self._element, num_parallel_calls=PARALLEL_BATCHES, deterministic=True
        )

    @abc.abstractmethod
    def _read(self, indices):
        """Reads images; called from several threads at once.

        Args:
            indices: int64 array [n], n ≥ 1, all valid.

        Returns:
            (images, indices): uint8 array [n, H, W, C], and the int64 array [n] of the images that
            were really read: another index stands where one could not be.
        """

    @tf.autograph.experimental.do_not_convert
    def _element(self, indices):
        dtypes = [tf.uint8, tf.int64] + ([tf.int64] if self.has_labels else [])
        parts = tf.numpy_function(self._read_with_labels, [indices], dtypes)
        parts[0].set_shape([*indices.shape, *self.image_shape])
        for part in parts[1:]:
            part.set_shape(indices.shape)
        return dict(zip(("image", "index", "label"), parts, strict=False))

    def _read_with_labels(self, indices):
        images, indices = self._read(indices)
        return (images, indices, self.labels[indices]) if self.has_labels else (images, indices)


def as_labels(labels, count, what):
    """Labels as an int64 array [count].

    Args:
        labels: sequence of integers.
        count: int, how many there must be.
        what: str, what the labels belong to, for the message.

    Returns:
        int64 array [count].

    Raises:
        ValueError: no integers, not one dimension, or another count.
    """
    array = np.asarray(labels)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise ValueError(
            "labels must be a sequence of integers, one an image; received "
            f"{array.dtype} of shape {array.shape}. One-hot labels: give labels.argmax(axis=1)."
        )
    if len(array) != count:
        raise ValueError(
            f"labels must have one entry an image: received {len(array)} labels for {count} {what}."
        )
    return array.astype(np.int64)


def write_skipped(source, path):
    """Writes what a source has skipped so far: a line each, name TAB reason, UTF-8.

    The file appears whole or not at all, and replaces an earlier one. Tabs and line breaks within a
    name are written as `\\t`, `\\n`.

    Args:
        source: `Source`.
        path: path of the file to write; its folder must exist.

    Raises:
        OSError: the file cannot be written.
    """
    lines = ["\t".join(_on_one_line(part) for part in row) + "\n" for row in source.skipped]
    write_atomically(path, "".join(lines))


def _on_one_line(text):
    return text.replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")
