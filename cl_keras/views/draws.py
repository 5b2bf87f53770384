"""The random draws of a view: a pure function of (seed, step, row of the global batch).

Row `r` of the block of uniform numbers belongs to image `r` of the global batch, whichever replica
holds it and however large the batch is, so one replica and many draw the same.
"""

import math
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

TRIES = 10
"""Rectangles tried before a crop falls back to the middle, as torchvision does."""

CROP_COLUMNS = 2 * TRIES + 3
"""Draws for a crop: areas, ratios, position and flip."""

LOOK_COLUMNS = 8
"""Draws for the look: jitter (5), grayscale and solarization (1), blur (2)."""


_HALF, _MASK, _MANTISSA = (np.uint64(n) for n in (32, 2**32 - 1, 2**23 - 1))
_SCRAMBLE = [np.uint64(0x3EC8F720), np.uint64(0x02461E29)]  # TensorFlow's key for seeds
_M0, _M1, _W0, _W1 = (np.uint64(n) for n in (0xD2511F53, 0xCD9E8D57, 0x9E3779B9, 0xBB67AE85))


class Columns:
    """Hands out the columns of a block of uniform numbers `[b, n]`, from the left."""

    def __init__(self, block: tf.Tensor):
        self._block, self._next = block, 0

    def take(self, low: float = 0.0, high: float = 1.0) -> tf.Tensor:
        """One column, `[b]`, uniform in [low, high)."""
        return self.take_many(1, low, high)[:, 0]

    def take_many(self, count: int, low: float = 0.0, high: float = 1.0) -> tf.Tensor:
        """`count` columns, `[b, count]`, uniform in [low, high)."""
        columns = self._block[:, self._next : self._next + count]
        self._next += count
        return low + (high - low) * columns


def decide(drawn: tf.Tensor, probability: float) -> tf.Tensor:
    """A random decision, and a uniform number that is independent of it, from the same draw.

    Args:
        drawn: `[b]`, uniform in [0, 1).
        probability: probability of True.

    Returns:
        bool `[b]`, and float32 `[b]` in [0, 1).
    """
    decided = drawn < probability
    if probability in (0, 1):
        return decided, drawn
    return decided, tf.where(
        decided, drawn / probability, (drawn - probability) / (1.0 - probability)
    )


class Look(NamedTuple):
    """The look of views, `[b]` each; where an operation does not apply, its neutral value: factors
    of 1, no turns of the hue, a blur of 0."""

    brightness: tf.Tensor
    contrast: tf.Tensor
    saturation: tf.Tensor
    turns: tf.Tensor
    gray: tf.Tensor
    sigma: tf.Tensor
    solarized: tf.Tensor


def draw_look(block: tf.Tensor, view: Any) -> Look:
    """Draws the look of each view.

    Args:
        block: uniform `[b, LOOK_COLUMNS]`.
        view: `View` with the probabilities and strengths.
    """
    columns = Columns(block)
    jittered = columns.take() < view.color_probability
    brightness, contrast, saturation = (
        tf.where(jittered, columns.take(max(0.0, 1.0 - strength), 1.0 + strength), 1.0)
        for strength in (view.brightness, view.contrast, view.saturation)
    )
    turns = tf.where(jittered, columns.take(-view.hue, view.hue), 0.0)
    gray, rest = decide(columns.take(), view.grayscale_probability)
    blurred = columns.take() < view.blur_probability
    sigma = tf.where(blurred, columns.take(*view.blur_sigma), 0.0)
    solarized = rest < view.solarize_probability
    return Look(brightness, contrast, saturation, turns, gray, sigma, solarized)


def uniform(seed: Any, step: Any, first_row: Any, rows: Any, columns: int) -> tf.Tensor:
    """Rows `first_row … first_row + rows` of the block of uniform numbers for (seed, step).

    Args:
        seed: int or int tensor.
        step: int or int tensor.
        first_row: row of the global batch at which the images begin.
        rows: number of images.
        columns: number of draws per image.

    Returns:
        float32 `[rows, columns]` in [0, 1).
    """
    numbers = tf.cast(first_row, tf.int64) + tf.range(tf.cast(rows, tf.int64))
    seeds = tf.stack([tf.cast(seed, tf.int64), tf.cast(step, tf.int64)])
    return _philox(tf.bitcast(seeds, tf.uint64), numbers, columns)


@tf.function(jit_compile=True, reduce_retracing=False, autograph=False)
def _philox(seeds, rows, columns):
    """Some rows of `tf.random.stateless_uniform([..., columns], alg="philox")`.

    NOTE: that function itself gives other numbers when compiled by XLA, as does the function that
    derives its key for seeds from 2^32, and it would have to draw all earlier rows. Philox 4×32-10:
    Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3".

    Args:
        seeds: uint64 `[2]`.
        rows: int64 `[b]`, indices of the rows.
        columns: int.

    Returns:
        float32 `[b, columns]` in [0, 1).
    """
    scrambled = _rounds([*_halves(seeds[0]), *_halves(seeds[1])], _SCRAMBLE)
    first, lane = rows * columns // 4, tf.cast(rows * columns % 4, tf.int32)
    groups = first[:, None] + tf.range((columns + 3) // 4 + 1, dtype=tf.int64)  # of four each
    # The counter begins at 0 in its lower half; a carry into the upper half is ignored.
    low = tf.cast(groups, tf.uint64)
    upper = [tf.broadcast_to(half, tf.shape(low)) for half in scrambled[2:]]
    lanes = _rounds([*_halves(low), *upper], scrambled[:2])
    words = tf.reshape(tf.stack(lanes, axis=-1), [-1, 4 * groups.shape[1]])
    words = tf.gather(words, lane[:, None] + tf.range(columns), batch_dims=1)
    return tf.cast(words & _MANTISSA, tf.float32) * 2.0**-23


def _rounds(lanes, keys):
    """Philox of a counter, four words of 32 bits, with a key of two."""
    for _ in range(10):
        product0, product1 = lanes[0] * _M0, lanes[2] * _M1
        lanes = [
            _upper(product1) ^ lanes[1] ^ keys[0],
            product1 & _MASK,
            _upper(product0) ^ lanes[3] ^ keys[1],
            product0 & _MASK,
        ]
        keys = [(keys[0] + _W0) & _MASK, (keys[1] + _W1) & _MASK]
    return lanes


def _halves(words):
    """The lower and the upper 32 bits."""
    return words & _MASK, _upper(words)


def crop_boxes(
    columns: Columns,
    height: Any,
    width: Any,
    area: tuple[float, float],
    ratio: tuple[float, float],
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    """Boxes of the "Inception" crop: random area and aspect ratio, at a random position.

    `crops.boxes` is the same in NumPy, for images of different sizes.

    Args:
        columns: `Columns`, of which `2 * TRIES + 2` are taken.
        height: height of the images in pixels.
        width: width of the images in pixels.
        area: (least, most) share of the image.
        ratio: (least, most) width over height, drawn evenly on a log scale.

    Returns:
        y, x, height and width of the boxes: `[b]` each, in pixels, fractions allowed.
    """
    total = float(height * width)
    areas = columns.take_many(TRIES, area[0] * total, area[1] * total)
    ratios = tf.exp(columns.take_many(TRIES, math.log(ratio[0]), math.log(ratio[1])))
    heights, widths = tf.sqrt(areas / ratios), tf.sqrt(areas * ratios)
    fits = (heights <= height) & (widths <= width)
    first = tf.argmax(tf.cast(fits, tf.int32), axis=1, output_type=tf.int32)
    box_height = tf.gather(heights, first, batch_dims=1)
    box_width = tf.gather(widths, first, batch_dims=1)

    # If none of the tries fits: the largest centered box with the nearest allowed ratio.
    nearest = min(max(width / height, ratio[0]), ratio[1])
    none_fits = ~tf.reduce_any(fits, axis=1)
    box_height = tf.where(none_fits, min(float(height), width / nearest), box_height)
    box_width = tf.where(none_fits, min(float(width), height * nearest), box_width)
    down = tf.where(none_fits, 0.5, columns.take())
    right = tf.where(none_fits, 0.5, columns.take())
    return down * (height - box_height), right * (width - box_width), box_height, box_width


def _upper(words):
    return tf.bitwise.right_shift(words, _HALF)
