"""Views of a whole batch as matrix products: the arithmetic, without the draws.

Crop, resize, flip and blur are linear in the rows and in the columns of an image, so each is a
factor of one matrix for the rows and one for the columns; the colour operations are linear in
the channels, so together they are one matrix and an offset for each image. A view is then

    clip( R · image · Cᵀ · M + b )

NOTE: between the colour operations nothing is clipped, and their order is fixed (brightness,
contrast, saturation, hue, grey); blur stands before colour. The papers draw the order at random
and clip in between, which changes few pixels.
"""

import math

import numpy as np
import tensorflow as tf

GREY = np.array([0.299, 0.587, 0.114], np.float32)
"""Weights of R, G, B in luma (ITU-R BT.601), as in torchvision and TensorFlow."""

_TO_YIQ = np.array(
    [GREY, [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]],  # NTSC (1953)
    np.float32,
)
_FROM_YIQ = np.linalg.inv(_TO_YIQ)


def resize_matrix(start, length, size, limit):
    """Weights that crop an axis of `limit` pixels to a box and resize that to `size` pixels.

    Bilinear; where the box is larger than `size`, the triangle widens with it (antialias).

    Args:
        start: `[B]`, first pixel of the box, fractions allowed.
        length: `[B]`, length of the box in pixels.
        size: pixels of the result.
        limit: pixels of the image.

    Returns:
        float32 `[B, size, limit]`, rows that sum to 1.
    """
    scale = length / size
    centres = start[:, None] + (tf.range(size, dtype=tf.float32) + 0.5) * scale[:, None] - 0.5
    distance = tf.abs(centres[:, :, None] - tf.range(limit, dtype=tf.float32))
    weights = tf.nn.relu(1.0 - distance / tf.maximum(scale, 1.0)[:, None, None])
    return weights / tf.reduce_sum(weights, axis=-1, keepdims=True)


def blur_matrix(sigma, size):
    """Weights of a Gaussian blur of an axis, kernel `size // 10` to either side made odd.

    Args:
        sigma: `[B]` standard deviations in pixels; 0 for no blur.
        size: pixels of the axis.

    Returns:
        float32 `[B, size, size]`, rows that sum to 1 (at the border over what is inside).
    """
    radius = size // 10 // 2
    place = tf.range(size, dtype=tf.float32)
    offset = place[:, None] - place
    sigma = tf.maximum(sigma, 1e-3)[:, None, None]
    weights = tf.exp(-0.5 * tf.square(offset / sigma)) * tf.cast(
        tf.abs(offset) <= radius, tf.float32
    )
    return weights / tf.reduce_sum(weights, axis=-1, keepdims=True)


def colour_matrix(brightness, contrast, saturation, hue, grey):
    """The colour operations of an RGB image, before the offset of the contrast.

    Args:
        brightness: `[B]` factors.
        contrast: `[B]` factors.
        saturation: `[B]` factors; 0 is grey, 1 unchanged.
        hue: `[B]` turns of the colour circle, in [-0.5, 0.5].
        grey: bool `[B]`, images that end grey.

    Returns:
        matrix: `[B, 3, 3]`, for row vectors (R, G, B) on its left.
        tint: `[B, 3]`, what the contrast's offset becomes; multiply by the grey mean of the image.
    """
    to_grey = tf.constant(
        np.outer(GREY, np.ones(3, np.float32))
    )  # rgb @ to_grey = (grey, grey, grey)
    identity = tf.eye(3)
    saturate = _mix(identity, to_grey, saturation)
    after = saturate @ _rotation(hue)
    after = after @ _mix(identity, to_grey, 1.0 - tf.cast(grey, tf.float32))
    matrix = (brightness * contrast)[:, None, None] * after
    offset = ((1.0 - contrast) * brightness)[:, None] * tf.reduce_sum(after, axis=1)
    return matrix, offset


def _mix(one, other, weight):
    weight = weight[:, None, None]
    return weight * one + (1.0 - weight) * other


def _rotation(turns):
    angle = 2.0 * math.pi * turns
    cosine, sine, zero = tf.cos(angle), tf.sin(angle), tf.zeros_like(turns)
    rows = [[zero + 1.0, zero, zero], [zero, cosine, -sine], [zero, sine, cosine]]
    turn = tf.stack([tf.stack(row, axis=-1) for row in rows], axis=1)
    # (rgb column) ↦ FROM · turn · TO · rgb, transposed for row vectors.
    return tf.transpose(_FROM_YIQ @ turn @ _TO_YIQ, [0, 2, 1])


def apply_rows_and_columns(images, rows, columns):
    """`R · image · Cᵀ` for every image and channel.

    Args:
        images: float32 `[B, H, W, C]`.
        rows: `[B, h, H]`.
        columns: `[B, w, W]`.

    Returns:
        float32 `[B, h, w, C]`.
    """
    height, width, channels = images.shape[1:]
    flat = tf.reshape(images, [-1, height, width * channels])
    resized = tf.reshape(rows @ flat, [-1, rows.shape[1], width, channels])
    return tf.einsum("btw,bhwc->bhtc", columns, resized)


def apply_colour(images, matrix, offset):
    """Each pixel times a matrix, plus an offset, clipped to 0..255.

    Args:
        images: `[B, H, W, C]`.
        matrix: `[B, C, C]`, for row vectors.
        offset: `[B, C]`.
    """
    # Written out by channel: XLA makes one pass of it, where a matrix product would make three.
    channels = [images[..., i] for i in range(images.shape[-1])]
    mixed = [
        sum(channel * matrix[:, i, o, None, None] for i, channel in enumerate(channels))
        + offset[:, o, None, None]
        for o in range(matrix.shape[-1])
    ]
    return tf.clip_by_value(tf.stack(mixed, axis=-1), 0.0, 255.0)
