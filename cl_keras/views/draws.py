"""The random draws of a view: a pure function of (seed, step, row of the global batch).

Row `r` of the uniform block belongs to image `r` of the global batch, whichever replica holds it
and however many rows the batch has, so one replica and many draw the same.
"""

import math

import tensorflow as tf

TRIES = 10
"""Rectangles tried before a crop falls back to the middle, as torchvision does."""


class Columns:
    """Hands out the columns of a block of uniform numbers `[B, n]`, from the left."""

    def __init__(self, block):
        self._block, self._next = block, 0

    def take(self, low=0.0, high=1.0):
        """One column, `[B]`, uniform in [low, high)."""
        return self.take_many(1, low, high)[:, 0]

    def take_many(self, count, low=0.0, high=1.0):
        """`count` columns, `[B, count]`, uniform in [low, high)."""
        columns = self._block[:, self._next : self._next + count]
        self._next += count
        return low + (high - low) * columns


def uniform(seed, step, first_row, rows, columns):
    """The rows `first_row … first_row + rows` of the block that (seed, step) fixes.

    Args:
        seed: int or int tensor.
        step: int or int tensor.
        first_row: row of the global batch at which the images begin.
        rows: number of images.
        columns: draws for each image.

    Returns:
        float32 `[rows, columns]` in [0, 1).
    """
    key = tf.stack([tf.cast(seed, tf.int64), tf.cast(step, tf.int64)])
    shape = [first_row + rows, columns]
    block = tf.random.stateless_uniform(shape, key, alg="philox")
    return block[first_row:]


def crop_boxes(columns, height, width, area, ratio):
    """Boxes of the "inception" crop: random area and aspect, at a random place.

    Args:
        columns: `Columns`, of which `2 * TRIES + 2` are taken.
        height: of the images, in pixels.
        width: of the images.
        area: (least, most) share of the image.
        ratio: (least, most) width over height, drawn evenly on a log scale.

    Returns:
        y, x, box height, box width: `[B]` each, in pixels, fractions allowed.
    """
    total = float(height * width)
    areas = columns.take_many(TRIES, area[0] * total, area[1] * total)
    ratios = tf.exp(columns.take_many(TRIES, math.log(ratio[0]), math.log(ratio[1])))
    heights, widths = tf.sqrt(areas / ratios), tf.sqrt(areas * ratios)
    fits = (heights <= height) & (widths <= width)
    first = tf.argmax(tf.cast(fits, tf.int32), axis=1, output_type=tf.int32)
    box_height = tf.gather(heights, first, batch_dims=1)
    box_width = tf.gather(widths, first, batch_dims=1)

    # The largest middle box of the nearest allowed ratio, where none of the tries fits.
    nearest = min(max(width / height, ratio[0]), ratio[1])
    none_fits = ~tf.reduce_any(fits, axis=1)
    box_height = tf.where(none_fits, min(float(height), width / nearest), box_height)
    box_width = tf.where(none_fits, min(float(width), height * nearest), box_width)
    across = tf.where(none_fits, 0.5, columns.take())
    along = tf.where(none_fits, 0.5, columns.take())
    return across * (height - box_height), along * (width - box_width), box_height, box_width
