"""The interface of every source of images."""

from __future__ import annotations

import abc
import functools
import os
from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf

from cl_keras import bounds
from cl_keras.data.batches import Batches
from cl_keras.data.cuts import Cropper, Draw, draw_in_epoch
from cl_keras.data.exiting import READS
from cl_keras.data.identity import Identity
from cl_keras.data.labels import as_labels, check_class_names
from cl_keras.data.order import order
from cl_keras.data.summary import Summary, summarize
from cl_keras.files import write_atomically

PARALLEL_BATCHES = 2  # batches of an array that are copied at the same time
PARALLEL_READS = max(4, min(32, bounds.cores()))  # some threads wait for the disk


class Source(abc.ABC):
    """Images with stable, dense indices 0 … N-1, all of the same shape.

    Created by `cl_keras.data.load`. Your own source must define `_read`, should define `identity`,
    and passes the rest to the constructor.

    Args:
        name: name of the source in messages and reports.
        num_images: N.
        image_shape: (height, width, channels), with 1 or 3 channels.
        labels: integers `[N]`, -1 for an unknown class; default: None, no labels.
        class_names: names of labels 0, 1, …; default: None.
        names: N file names in printable form; default: None.
    """

    rows_per_read: int | None = None
    """Number of images that one thread decodes at a time; None for whole batches."""

    def __init__(
        self,
        name: str,
        num_images: int,
        image_shape: tuple[int, int, int],
        *,
        labels: Sequence[int] | np.ndarray | None = None,
        class_names: Sequence[str] | None = None,
        names: Sequence[str] | None = None,
    ):
        self.name = name
        self.num_images = num_images
        height, width, channels = image_shape
        self.image_shape = (height, width, channels)
        self.class_names = None if class_names is None else list(class_names)
        self.names = names
        self._labels = None if labels is None else as_labels(labels, num_images, "images")
        if self._labels is not None and self.class_names is not None:
            check_class_names(self.class_names, self._labels)

    def __len__(self):
        return self.num_images

    def __repr__(self):
        shape = "×".join(str(size) for size in self.image_shape)
        return f"<{type(self).__name__} {self.name!r}: {self.num_images} images of {shape}>"

    @property
    def has_labels(self) -> bool:
        """Whether elements carry a label. Never costs a pass over the data."""
        return self._labels is not None

    @property
    def labels(self) -> np.ndarray | None:
        """int64 `[N]`, -1 for an unknown class; or None."""
        return self._labels

    @property
    def can_run_in_service(self) -> bool:
        """Whether TensorFlow reads the images without Python, and so in any process."""
        return False

    @property
    def shuffles_whole(self) -> bool:
        """Whether a shuffled image may come at any point of an epoch."""
        return True

    @property
    def cuts(self) -> bool:
        """Whether crops are better cut from the files, which have more detail than the images."""
        return False

    @property
    def skipped(self) -> list[tuple[str, str]]:
        """(name, reason) of everything that could not be read so far."""
        return []

    def identity(self) -> Identity:
        """The identity of the images, to `compare` with an earlier one."""
        return Identity({"kind": self.name, "num_images": self.num_images})

    def images(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """Reads some images.

        Args:
            indices: integers `[n]` from 0 to N-1, in any order.

        Returns:
            uint8 array `[n, h, w, c]`.

        Raises:
            IndexError: an index is out of range.
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

    def batches(
        self,
        batch_size: int,
        *,
        seed: int = 0,
        shuffle: bool = True,
        drop_remainder: bool | None = None,
    ) -> Batches:
        """The images as a `tf.data.Dataset` of batches; see `Batches`.

        Args:
            batch_size: images per batch, over all replicas; at least 1.
            seed: determines the order, together with the epoch; default: 0.
            shuffle: a new order in each epoch, instead of the order of the indices; default: True.
            drop_remainder: leave out the last batch of an epoch if it is smaller than the others;
                default: None, the same as `shuffle`.

        Raises:
            TypeError, ValueError: an unusable batch size or seed, or fewer images than one batch if
                the remainder is dropped.
        """
        return Batches(self, batch_size, seed=seed, shuffle=shuffle, drop_remainder=drop_remainder)

    def epoch(
        self,
        epoch: tf.Tensor,
        batch_size: int,
        *,
        seed: int,
        shuffle: bool,
        drop_remainder: bool,
        skip: int | tf.Tensor = 0,
        share: tuple[int, int] = (0, 1),
        cropper: Cropper | None = None,
    ) -> tf.data.Dataset:
        """One epoch as a dataset, from which `Batches` are made.

        Args:
            epoch: int64 scalar tensor; may be symbolic.
            batch_size, seed, shuffle, drop_remainder: as in `batches`.
            skip: number of batches to skip at the beginning, unread; default: 0.
            share: (worker, workers); reads only that worker's rows of each batch; default: (0, 1).
            cropper: draws crops to cut from the files instead of the image; default: None.

        Returns:
            Dataset of `{"image", "index"[, "label"]}`, or with "crops" in place of "image".
        """
        if shuffle:
            indices = order(seed, epoch, self.num_images)
        else:
            indices = tf.range(self.num_images, dtype=tf.int64)
        worker, workers = share
        rows = batch_size // workers
        if workers > 1:  # a smaller last batch cannot be shared; `Batches` checks this
            whole = indices[: self.num_images // batch_size * batch_size]
            indices = tf.reshape(whole, [-1, workers, rows])[:, worker]
            indices = tf.reshape(indices, [-1])
        indices = tf.data.Dataset.from_tensor_slices(indices[skip * rows :])

        @tf.autograph.experimental.do_not_convert
        def element(indices):
            return self._element(indices, epoch, cropper)

        at_once = min(rows, self.rows_per_read or rows)
        if at_once == rows:
            calls = PARALLEL_BATCHES if self.rows_per_read is None else PARALLEL_READS
            return indices.batch(rows, drop_remainder=drop_remainder).map(
                element, num_parallel_calls=calls, deterministic=True
            )
        parts = indices.batch(at_once).map(
            element, num_parallel_calls=PARALLEL_READS, deterministic=True
        )
        return parts.rebatch(rows, drop_remainder=drop_remainder)

    def glances(
        self, indices: Sequence[int], side: int
    ) -> Iterator[tuple[tuple[int, int], np.ndarray]]:
        """Looks quickly at some images, one after the other.

        Args:
            indices: indices of the images.
            side: side in pixels of the picture that is needed.

        Yields:
            ((height, width) of the stored image, upright; uint8 `[h, w, 1 or 3]`, a smaller picture
            in the stored colors).
        """
        for index in indices:
            image = self.images([index])[0]
            yield image.shape[:2], image

    def summary(self, *, sample: int = 256, seconds: float = 2.0) -> Summary:
        """Summarizes the images from a sample: their sizes, colors and classes.

        Args:
            sample: maximum number of images to look at; default: 256.
            seconds: time limit, after at least one image; default: 2.
        """
        return summarize(self, sample=sample, seconds=seconds)

    @abc.abstractmethod
    def _read(self, indices):
        """Reads images; called from several threads at once.

        Args:
            indices: int64 `[n]`, n ≥ 1, all valid.

        Returns:
            (images, indices): uint8 `[n, h, w, c]`, and int64 `[n]`, the indices of the images
            actually read, which differ where an image was replaced.
        """

    def _read_cuts(
        self, indices: np.ndarray, sizes: Sequence[int], draw: Draw
    ) -> tuple[list[np.ndarray], np.ndarray]:
        """Cuts crops from files; called from several threads at once, if `cuts` is true.

        Args:
            indices: int64 `[n]`, n ≥ 1, all valid.
            sizes: side in pixels of each crop.
            draw: gives boxes and flips, from (height, width, index actually read).

        Returns:
            (crops, indices): uint8 `[n, size, size, c]` for each of `sizes`, and as in `_read`.
        """
        raise NotImplementedError(f"{self.name} has no files to cut crops from.")

    def _element(self, indices, epoch, cropper):
        count = 1 if cropper is None else len(cropper.sizes)
        dtypes = [tf.uint8] * count + [tf.int64] * (1 + self.has_labels)

        def read(indices, epoch):
            with READS.one():
                return self._read_parts(indices, int(epoch), cropper)

        parts = tf.numpy_function(read, [indices, epoch], dtypes)
        *_, channels = self.image_shape
        shapes = [self.image_shape]
        if cropper is not None:
            shapes = [(size, size, channels) for size in cropper.sizes]
        for part, shape in zip(parts[:count], shapes, strict=True):
            part.set_shape([*indices.shape, *shape])
        for part in parts[count:]:
            part.set_shape(indices.shape)
        first = {"image": parts[0]} if cropper is None else {"crops": tuple(parts[:count])}
        return first | dict(zip(("index", "label"), parts[count:], strict=False))

    def _read_parts(self, indices, epoch, cropper):
        """The parts of an element, in order."""
        if READS.exiting:  # the element will not be used
            count = 1 if cropper is None else len(cropper.sizes)
            images = [np.zeros((len(indices), *self.image_shape), np.uint8)] * count
        elif cropper is None:
            images, indices = self._read(indices)
            images = [images]
        else:
            draw = functools.partial(draw_in_epoch, cropper, epoch)
            images, indices = self._read_cuts(indices, cropper.sizes, draw)
        return (*images, indices, *([self.labels[indices]] if self.has_labels else []))


def write_skipped(source: Source, path: str | os.PathLike) -> None:
    """Writes what a source has skipped so far, one line each: name TAB reason, in UTF-8.

    The file is written atomically and replaces an earlier one. Tabs and line breaks within a name
    are written as `\\t`, `\\n`.

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
