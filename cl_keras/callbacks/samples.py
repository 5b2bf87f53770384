"""Summaries for TensorBoard in addition to the metrics of epochs: steps, views and embeddings."""

import math
import os
import pathlib
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from cl_keras import distribute
from cl_keras.callbacks.health import evenly_spread
from cl_keras.data.printable import printable
from cl_keras.files import write_atomically
from cl_keras.views import view_grid

VIEWED, DRAWS = 8, 3
"""Number of images whose views are shown, and of draws of each."""

PROJECTED, THUMBNAIL = 1000, 32
"""Number of images in the projector, and the side of their thumbnails in pixels."""

_ENCODED = 128  # number of images to encode at a time

CONFIG = """\
embeddings {{
  tensor_name: "representation"
  tensor_path: "vectors.tsv"
  metadata_path: "images.tsv"
  sprite {{
    image_path: "thumbnails.png"
    single_image_dim: {side}
    single_image_dim: {side}
  }}
}}
"""


class Samples(keras.callbacks.Callback):
    """Writes summaries for TensorBoard that the callback of Keras does not.

    They are the logs of steps, some images with their views before training, and after it the
    embeddings of up to 1,000 images with thumbnails, names and labels, for the projector. Training
    is not affected: the encoder runs in inference mode, and uses no random state.

    Args:
        images: the training images, a source or uint8 `[n, h, w, c]`.
        folder: output folder, below the `--logdir` of TensorBoard.
        every: number of steps between points; default: 20.
    """

    def __init__(self, images: Any, folder: str | os.PathLike, every: int = 20):
        super().__init__()
        if every < 1:
            raise ValueError(f"every must be at least 1; received {every!r}.")
        self._images, self._folder, self._every = images, pathlib.Path(folder), every
        self._writer: Any = None

    def on_train_begin(self, logs=None):
        self._step = self._written = int(self.model.step.numpy())
        if distribute.is_chief():
            self._writer = tf.summary.create_file_writer(str(self._folder))
            self._show_views()

    def on_epoch_begin(self, epoch, logs=None):
        self._step = int(self.model.step.numpy())  # the last execution of an epoch may be shorter

    def on_train_batch_end(self, batch, logs=None):
        self._step += self.model.steps_per_execution
        if self._writer is None or self._step - self._written < self._every:
            return
        self._written = self._step
        with self._writer.as_default(step=self._step):
            for name, value in (logs or {}).items():
                tf.summary.scalar(f"steps/{name}", value)

    def on_train_end(self, logs=None):
        if self._writer is None:
            return
        self._writer.close()
        self._writer = None
        write_projector(self.model.encoder, self._images, self._folder)

    def _show_views(self):
        if self.model.views is None or not callable(self.model.views):
            return
        images = evenly_spread(self._images, VIEWED)[1]
        try:
            grid = view_grid(images, self.model.views, draws=DRAWS, seed=self.model.seed)
        except ValueError:  # views that are not pictures
            return
        rows, columns, side, _, channels = grid.shape
        picture = grid.transpose(0, 2, 1, 3, 4).reshape(1, rows * side, columns * side, channels)
        if channels in (1, 3, 4):
            with self._writer.as_default(step=self._step):
                tf.summary.image("an image and its views", picture)


def write_projector(encoder: keras.Model, images: Any, folder: str | os.PathLike) -> None:
    """Writes vectors, thumbnails, names and labels for the projector of TensorBoard.

    Args:
        encoder: a `keras.Model` from images to vectors.
        images: a source or uint8 `[n, h, w, c]`, of which at most 1,000, evenly spaced, are used.
        folder: an existing folder.
    """
    folder = pathlib.Path(folder)
    index, pixels = evenly_spread(images, PROJECTED)
    parts = [
        np.asarray(tf.cast(encoder(pixels[i : i + _ENCODED], training=False), tf.float32))
        for i in range(0, len(pixels), _ENCODED)
    ]
    vectors = np.concatenate(parts)
    lines = ["\t".join(f"{number:.6g}" for number in row) for row in vectors.tolist()]
    write_atomically(folder / "vectors.tsv", "\n".join(lines) + "\n")
    write_atomically(folder / "images.tsv", _table(images, index))
    write_atomically(folder / "thumbnails.png", _sprite(pixels))
    write_atomically(folder / "projector_config.pbtxt", CONFIG.format(side=THUMBNAIL))


def _table(images, index):
    """A heading, and the name and label of each image, separated by tabs."""
    names, labels = getattr(images, "names", None), getattr(images, "labels", None)
    classes = getattr(images, "class_names", None)
    lines = ["name\tlabel"]
    for row in index:
        name = str(row) if names is None else printable(names[row]).replace("\t", " ")
        label = -1 if labels is None else int(labels[row])
        shown = classes[label] if classes and label >= 0 else str(label)
        lines.append(f"{name}\t{printable(str(shown))}")
    return "\n".join(lines) + "\n"


def _sprite(pixels):
    """A PNG with all thumbnails in a square, row by row, as the projector expects."""
    small = tf.image.resize(pixels, [THUMBNAIL, THUMBNAIL], antialias=True)
    small = tf.cast(tf.round(small), tf.uint8).numpy()
    if small.shape[-1] not in (1, 3):
        small = small[..., :1]
    across = math.ceil(math.sqrt(len(small)))
    empty = np.full([across**2 - len(small), *small.shape[1:]], 255, np.uint8)
    squares = np.concatenate([small, empty]).reshape(across, across, *small.shape[1:])
    sprite = squares.transpose(0, 2, 1, 3, 4).reshape(across * THUMBNAIL, across * THUMBNAIL, -1)
    return tf.io.encode_png(sprite).numpy()
