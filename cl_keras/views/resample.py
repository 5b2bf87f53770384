"""Resizes and blurs a batch of images by matrices, without random draws.

Both are linear along the rows and the columns of an image, with few weights per pixel of the
result. A GPU is fastest with products of mostly zero matrices. `kernels` does the same on a CPU,
visiting only the nonzero weights.
"""

import math

import tensorflow as tf


def resize_weights(
    start: tf.Tensor, length: tf.Tensor, size: int, limit: int, flipped: tf.Tensor | None = None
) -> tf.Tensor:
    """Weights of pixels for resizing a part of an axis, as in Pillow's bilinear filter.

    If the part is larger than the result, the triangle of the filter widens with it (antialiasing).

    Args:
        start: `[b]`, first pixel of the part, fractions allowed.
        length: `[b]`, length of the part in pixels.
        size: length of the result in pixels.
        limit: length of the axis in pixels.
        flipped: bool `[b]`, whether the result is reversed; default: None, never.

    Returns:
        float32 `[b, size, limit]`, rows that sum to 1.
    """
    scale = (length / size)[:, None]
    steps = tf.range(size, dtype=tf.float32) + 0.5
    centers = start[:, None] + steps * scale - 0.5  # [b, size], in pixels of the axis
    distance = tf.abs(centers[..., None] - tf.range(limit, dtype=tf.float32))
    weights = tf.nn.relu(1.0 - distance / tf.maximum(scale, 1.0)[..., None])
    weights /= tf.reduce_sum(weights, axis=-1, keepdims=True)
    if flipped is None:
        return weights
    return tf.where(flipped[:, None, None], weights[:, ::-1], weights)


def resize(images: tf.Tensor, weights: tf.Tensor, axis: int) -> tf.Tensor:
    """Resizes images along one axis.

    Args:
        images: `[b, h, w, c]`.
        weights: `[b, size, h or w]`, from `resize_weights`.
        axis: 1 for the rows, or 2 for the columns.

    Returns:
        float32 `[b, size, w, c]` or `[b, h, size, c]`.
    """
    equation = "bth,bhwc->btwc" if axis == 1 else "btw,bhwc->bhtc"
    return tf.einsum(equation, weights, tf.cast(images, tf.float32))


def blur_radius(size: int, sigma: float, kernel: float | None) -> int:
    """Reach of a blur to either side, in pixels.

    Args:
        size: side of the view in pixels.
        sigma: largest standard deviation in pixels.
        kernel: side of the kernel as a share of `size`; None for 4 σ, which leaves out less than
            1e-4 of the Gaussian.
    """
    whole = math.ceil(4 * sigma)
    return min(whole, size - 1) if kernel is None else min(whole, int(kernel * size) // 2)


def blur_weights(sigma: tf.Tensor, radius: int) -> tf.Tensor:
    """Weights of the pixels 0 … `radius` away, `[b, radius + 1]`; `sigma` 0 is no blur."""
    offset = tf.range(radius + 1, dtype=tf.float32)
    weights = tf.exp(-0.5 * tf.square(offset / tf.maximum(sigma, 1e-3)[:, None]))
    return weights / (2.0 * tf.reduce_sum(weights, axis=1, keepdims=True) - weights[:, :1])


def blur(images: tf.Tensor, weights: tf.Tensor, axis: int) -> tf.Tensor:
    """Gaussian blur along one axis; pixels at the border are repeated beyond it.

    Args:
        images: float32 `[b, h, w, c]`.
        weights: `[b, radius + 1]`, from `blur_weights`.
        axis: 1 for down, or 2 for across.
    """
    return resize(images, _blur_matrix(weights, images.shape[axis]), axis)


def _blur_matrix(weights, size):
    """`[b, size, size]`; weights beyond the border are added to the pixel there."""
    radius = weights.shape[1] - 1
    offset = tf.abs(tf.range(-radius, size + radius) - tf.range(size)[:, None])
    padded = tf.pad(weights, [[0, 0], [0, 1]])
    matrix = tf.gather(padded, tf.minimum(offset, radius + 1), axis=1)
    first = tf.reduce_sum(matrix[:, :, : radius + 1], axis=2, keepdims=True)
    last = tf.reduce_sum(matrix[:, :, radius + size - 1 :], axis=2, keepdims=True)
    if size == 1:
        return tf.ones_like(first)
    return tf.concat([first, matrix[:, :, radius + 1 : radius + size - 1], last], axis=2)
