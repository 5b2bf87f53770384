"""Resize and blur of a batch: the arithmetic, without the draws.

All are linear along the rows and along the columns of an image, with few weights for each pixel of
the result. On a GPU they are products with matrices that hold mostly zeros, which is what it does
best; on a CPU only the weights that are not zero are visited, which is 10 times less work at 224
pixels. Both forms give the same values up to rounding.
"""

import math

import tensorflow as tf

MAX_TAPS = 16
"""Weights for each pixel of the result up to which a CPU visits them one by one."""


def resize_weights(
    start: tf.Tensor, length: tf.Tensor, size: int, limit: int, position: tf.Tensor
) -> tf.Tensor:
    """Weights of pixels in the resizing of a part of an axis, as Pillow's bilinear filter.

    Bilinear; where the box is larger than the result, the triangle widens with it (antialiasing).

    Args:
        start: `[b]`, first pixel of the box, fractions allowed.
        length: `[b]`, length of the box in pixels.
        size: pixels of the result.
        limit: pixels of the axis.
        position: `[1 or b, 1 or size, k]`, float, pixels of the axis. All that have a weight must
            be among them.

    Returns:
        float32 `[b, size, k]`, rows that sum to 1.
    """
    scale = (length / size)[:, None, None]
    distance = tf.abs(_centers(start, length, size)[..., None] - position)
    inside = (position >= 0.0) & (position < limit)
    weights = tf.where(inside, tf.nn.relu(1.0 - distance / tf.maximum(scale, 1.0)), 0.0)
    return weights / tf.reduce_sum(weights, axis=-1, keepdims=True)


def plan(
    start: tf.Tensor,
    length: tf.Tensor,
    size: int,
    limit: int,
    *,
    flipped: tf.Tensor | None = None,
    matrices: bool,
) -> tuple[tf.Tensor, ...]:
    """What `resize` needs to bring a part of an axis to `size` pixels.

    Args:
        start: `[b]`, first pixel of the part, fractions allowed.
        length: `[b]`, its length in pixels.
        size: pixels of the result.
        limit: pixels of the axis.
        flipped: bool `[b]`, whether the result is turned around; default: None, never.
        matrices: whether as a product with a matrix, for a GPU.

    Returns:
        weights `[b, size, limit]`; or weights and pixels, both `[b, size, k]`, that have weights
        other than zero.
    """
    taps = math.ceil(2 * max(limit / size, 1.0))
    if matrices or taps > MAX_TAPS:
        position = tf.range(limit, dtype=tf.float32)[None, None]
        return (_turned(resize_weights(start, length, size, limit, position), flipped),)
    support = tf.maximum(length / size, 1.0)[:, None]
    first = tf.floor(_centers(start, length, size) - support) + 1.0
    position = first[..., None] + tf.range(taps, dtype=tf.float32)
    weights = _turned(resize_weights(start, length, size, limit, position), flipped)
    index = tf.cast(tf.clip_by_value(_turned(position, flipped), 0.0, limit - 1.0), tf.int32)
    return weights, index


def resize(images: tf.Tensor, planned: tuple[tf.Tensor, ...], axis: int) -> tf.Tensor:
    """A part of each image along one axis, as planned.

    Args:
        images: `[b, h, w, c]`.
        planned: of `plan`.
        axis: 1, the rows, or 2, the columns.

    Returns:
        float32 `[b, size, w, c]` or `[b, h, size, c]`.
    """
    weights = planned[0]
    height, width, channels = images.shape[1:]
    if axis == 1:  # an image is a list of rows
        images = tf.reshape(images, [-1, height, width * channels])
    if len(planned) == 1:
        images = tf.cast(images, tf.float32)
        equation = "bth,bhx->btx" if axis == 1 else "btw,bhwc->bhtc"
        result = tf.einsum(equation, weights, images)
    else:
        index = planned[1]
        shape = [-1, weights.shape[1], 1] if axis == 1 else [-1, 1, weights.shape[1], 1]
        result = tf.add_n(
            [
                tf.reshape(weights[..., tap], shape)
                * tf.cast(tf.gather(images, index[..., tap], axis=axis, batch_dims=1), tf.float32)
                for tap in range(weights.shape[2])
            ]
        )
    return tf.reshape(result, [-1, weights.shape[1], width, channels]) if axis == 1 else result


def _centers(start, length, size):
    """Middle of each pixel of the result, `[b, size]`, in pixels of the axis."""
    steps = tf.range(size, dtype=tf.float32) + 0.5
    return start[:, None] + steps * (length / size)[:, None] - 0.5


def _turned(values, flipped):
    if flipped is None:
        return values
    return tf.where(flipped[:, None, None], values[:, ::-1], values)


def blur_radius(size: int, sigma: float, kernel: float | None) -> int:
    """Pixels to either side that a blur reaches.

    Args:
        size: side of the view in pixels.
        sigma: largest standard deviation in pixels.
        kernel: side of the kernel as a share of `size`; None for 4 σ, beyond which less than 1e-4
            of the Gaussian lies.
    """
    whole = math.ceil(4 * sigma)
    return min(whole, size - 1) if kernel is None else min(whole, int(kernel * size) // 2)


def blur_weights(sigma: tf.Tensor, radius: int) -> tf.Tensor:
    """Weights of the pixels 0 … `radius` away, `[b, radius + 1]`; `sigma` 0 is no blur."""
    offset = tf.range(radius + 1, dtype=tf.float32)
    weights = tf.exp(-0.5 * tf.square(offset / tf.maximum(sigma, 1e-3)[:, None]))
    return weights / (2.0 * tf.reduce_sum(weights, axis=1, keepdims=True) - weights[:, :1])


def blur(images: tf.Tensor, weights: tf.Tensor, axis: int, matrices: bool) -> tf.Tensor:
    """Gaussian blur along one axis; beyond the border, its last pixel goes on.

    Args:
        images: `[b, h, w, c]`.
        weights: `[b, radius + 1]`, of `blur_weights`.
        axis: 1, down, or 2, across.
        matrices: whether as a product with a matrix, for a GPU.
    """
    radius, size = weights.shape[1] - 1, images.shape[axis]
    if matrices:
        matrix = _blur_matrix(weights, size)
        equation = "bth,bhwc->btwc" if axis == 1 else "btw,bhwc->bhtc"
        return tf.einsum(equation, matrix, images)
    before = tf.repeat(tf.gather(images, [0], axis=axis), radius, axis=axis)
    after = tf.repeat(tf.gather(images, [size - 1], axis=axis), radius, axis=axis)
    padded = tf.concat([before, images, after], axis=axis)
    # Rows of pixels and channels in one: all neighbors are then a fixed number of values away.
    height, width, channels = padded.shape[1:]
    flat = tf.reshape(padded, [-1, height, width * channels])
    unit = channels if axis == 2 else 1

    def moved(offset):
        begin, end = (radius + offset) * unit, (radius + offset + size) * unit
        return flat[:, begin:end] if axis == 1 else flat[:, :, begin:end]

    total = weights[:, 0, None, None] * moved(0)
    for k in range(1, radius + 1):
        total += weights[:, k, None, None] * (moved(k) + moved(-k))
    return tf.reshape(total, [-1, *images.shape[1:]])


def _blur_matrix(weights, size):
    """`[b, size, size]`; what reaches beyond the border counts for the pixel there."""
    radius = weights.shape[1] - 1
    offset = tf.abs(tf.range(-radius, size + radius) - tf.range(size)[:, None])
    padded = tf.pad(weights, [[0, 0], [0, 1]])
    matrix = tf.gather(padded, tf.minimum(offset, radius + 1), axis=1)
    first = tf.reduce_sum(matrix[:, :, : radius + 1], axis=2, keepdims=True)
    last = tf.reduce_sum(matrix[:, :, radius + size - 1 :], axis=2, keepdims=True)
    if size == 1:
        return tf.ones_like(first)
    return tf.concat([first, matrix[:, :, radius + 1 : radius + size - 1], last], axis=2)
