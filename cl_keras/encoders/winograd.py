"""3×3 convolutions of stride 1 with a fourth of the multiplications, for training on a CPU.

A tile of 6×6 inputs and a kernel are taken as polynomials of two variables, evaluated at 6×6
points, multiplied there, and 4×4 outputs are read off the product (Winograd 1980; F(4×4, 3×3) of
Lavin & Gray 2016, https://arxiv.org/abs/1509.09308):

    y = Aᵀ [ (G g Gᵀ) ⊙ (Bᵀ d B) ] A,  summed over input channels

so that for each of the 36 points there is a product of two matrices, tiles × channels and channels
× features. The points are 0, ±5/8, ±3/2 and ∞ for each variable; rounding errors are three times
those of the plain sum, and with ±1 and ±2, six times.
"""

import functools
import itertools

import numpy as np
import tensorflow as tf

from cl_keras import aligned, bounds, loops

TILE = 4
CHANNELS = 64
"""The numbers of channels must be multiples of it; that of `winograd_kernels`, slow to import."""
MAX_BYTES = 2**27
"""Maximum size of the transformed images; larger batches are taken in parts."""
SHIFTS = {tf.float32: (np.uint32, 0), tf.bfloat16: (np.uint16, 16)}
"""Type to that of its bits, and the number of bits that float32 has in addition."""

MAX_COST = {tf.float32: 0.9, tf.bfloat16: 0.5}
"""Type to the estimated cost, relative to multiplying in float32, up to which this is faster."""
OF_IMAGES, OF_KERNEL = 80, 100
"""Time to transform a number of a tile, and of a kernel, in multiplications; measured."""


def supports(images: tf.Tensor, features: int) -> bool:
    """Whether `convolve` takes these images, `[b, h, w, c]`, and this number of output channels."""
    _, height, width, channels = images.shape
    known = None not in (height, width) and images.dtype in SHIFTS
    return known and channels % CHANNELS == 0 and features % CHANNELS == 0


def is_faster(images: tf.Tensor, features: int) -> bool:
    """Whether this is the fastest form of a 3×3 convolution here.

    Args:
        images: `[b, h, w, c]`.
        features: number of output channels.
    """
    if not supports(images, features):
        return False
    count, height, width, channels = images.shape
    if images.dtype == tf.bfloat16 and "amx_bf16" in bounds.cpu_flags():
        return False  # products of float32 are far slower there
    tiles = _tiles(height, width)
    kernel = OF_KERNEL / (count * tiles) if count else 0  # of a batch of unknown size: little
    cost = 1 + OF_IMAGES * (1 / channels + 1 / features) + kernel
    most = MAX_COST[images.dtype]
    return cost * 36 * tiles <= most * 9 * height * width and loops.fit_here()


def convolve(images: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """A convolution of stride 1, padded with a zero on each side, with all its derivatives.

    NOTE: XLA cannot compile this, and a graph with it cannot be saved.

    Args:
        images: float32 or bfloat16 `[b, h, w, c]`, of known height and width; `c` a multiple of 64.
        kernel: `[3, 3, c, k]`, of the same type; `k` a multiple of 64.

    Returns:
        `[b, h, w, k]`, of the same type; sums are in float32.

    Raises:
        ValueError: for other images or kernels.
    """
    channels, features = kernel.shape[2:]
    if not supports(images, features):
        raise ValueError(
            "images must be float32 or bfloat16, of known height and width, and input and output "
            f"channels multiples of {CHANNELS}; received {images.dtype.name} "
            f"{tuple(images.shape)} and {features} output channels. Use tf.nn.conv2d for them."
        )
    flat = tf.reshape(tf.cast(kernel, tf.float32), [9, channels * features])
    points = tf.matmul(tf.constant(_kernel_transform()), flat)
    return _product(images, tf.reshape(points, [36, channels, features]))


@tf.custom_gradient
def _product(images, points):
    """`[b, h, w, k]` from images and a transformed kernel, `[36, c, k]`."""
    parts = _parts(images, max(points.shape[1:]))
    outputs = []
    for part in parts:
        with tf.control_dependencies(outputs[-1:]):  # one part after the other
            tiles = _to_tiles(images, 1, part)
        outputs.append(_from_tiles(tf.matmul(tiles, points), images, 0))

    def gradient(d_outputs):
        d_images, d_points = [], []
        for part in parts:
            with tf.control_dependencies(d_images[-1:]):
                d_tiles = _to_tiles(d_outputs, 0, part)
            d_tiles_of_images = tf.matmul(d_tiles, points, transpose_b=True)
            d_images.append(_from_tiles(d_tiles_of_images, images, 1))
            # The tiles are made again, since they take more than twice the memory of the images,
            # and only now, otherwise TensorFlow would begin the gradient by making all of them.
            with tf.control_dependencies(d_images[-1:]):
                tiles = _to_tiles(images, 1, part)
            d_points.append(tf.matmul(tiles, d_tiles, transpose_a=True))
        return _joined(d_images), tf.add_n(d_points)

    return _joined(outputs), gradient


def _parts(images, channels):
    """Slices of a batch, so that the tiles of none take more than `MAX_BYTES`."""
    count, height, width, _ = images.shape
    if count is None:
        return [slice(None)]
    size = count * _tiles(height, width) * 36 * channels * 4
    ends = np.linspace(0, count, max(1, min(-(-size // MAX_BYTES), count)) + 1).astype(int)
    return [slice(first, last) for first, last in itertools.pairwise(ends.tolist())]


def _joined(parts):
    return parts[0] if len(parts) == 1 else tf.concat(parts, axis=0)


def _to_tiles(images, reach, part):
    """`[36, tiles, c]` from a part of `[b, h, w, c]`; see `winograd_kernels.to_tiles`."""
    count, height, width, channels = images.shape
    rows = range(count or 0)[part]

    @tf.custom_gradient
    def transform(images):
        function = _to(reach, part.start, part.stop)
        tiles = tf.numpy_function(function, [images], tf.float32, stateful=False)
        size = None if count is None else len(rows) * _tiles(height, width)
        tiles.set_shape([36, size, channels])

        def gradient(d_tiles):
            others = [rows.start, (count or 0) - rows.stop]
            return tf.pad(_from_tiles(d_tiles, images, reach), [others, [0, 0], [0, 0], [0, 0]])

        return tiles, gradient

    return transform(images)


def _from_tiles(tiles, like, reach):
    """Images of the size and type of `like`; see `winograd_kernels.from_tiles`."""
    _, height, width, _ = like.shape

    @tf.custom_gradient
    def transform(tiles):
        function = _from(height, width, like.dtype, reach)
        images = tf.numpy_function(function, [tiles], like.dtype, stateful=False)
        count = None if tiles.shape[1] is None else tiles.shape[1] // _tiles(height, width)
        images.set_shape([count, height, width, tiles.shape[2]])
        return images, lambda d_images: _to_tiles(d_images, reach, slice(None))

    return transform(tiles)


def _tiles(height, width):
    """Number of tiles of an image."""
    return -(-height // TILE) * -(-width // TILE)


# A graph keeps the functions that it calls, so there is one for each set of parameters.
@functools.cache
def _to(reach, first, last):
    def run(images):
        from cl_keras.encoders import winograd_kernels as kernels  # slow to import

        images, (bits, shift) = images[first:last], SHIFTS[tf.as_dtype(images.dtype)]
        count, height, width, channels = images.shape
        tiles = aligned.empty((36, count * _tiles(height, width), channels), np.float32)
        images = images.view(bits)
        loops.on_all_cores(
            lambda first, last: kernels.to_tiles(images, shift, reach, tiles, first, last), count
        )
        return tiles

    return run


@functools.cache
def _from(height, width, dtype, reach):
    def run(tiles):
        from cl_keras.encoders import winograd_kernels as kernels  # slow to import

        bits, shift = SHIFTS[dtype]
        count = tiles.shape[1] // _tiles(height, width)
        images = aligned.empty((count, height, width, tiles.shape[2]), dtype.as_numpy_dtype)
        target = images.view(bits)
        loops.on_all_cores(
            lambda first, last: kernels.from_tiles(tiles, reach, target, shift, first, last), count
        )
        return images

    return run


@functools.cache
def _kernel_transform():
    """float32 `[36, 9]`, G for both axes of a kernel."""
    from cl_keras.encoders.winograd_kernels import POINTS

    (a, b), rows = POINTS, [[1 / np.prod(np.square(POINTS)), 0, 0]]
    for point, other in ((a, b), (b, a)):
        weight = 1 / (2 * point**2 * (point**2 - other**2))
        for sign in (1, -1):
            rows.append([weight, sign * weight * point, weight * point**2])
    transform = np.array([*rows, [0, 0, 1]])
    return np.kron(transform, transform).astype("float32")
