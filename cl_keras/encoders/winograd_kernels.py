"""The loops of `winograd`, compiled for a CPU: from images to tiles, and back.

Each works on 64 channels of one tile at a time, which stay in the nearest cache. Indices are
unsigned, since Python's negative ones would keep the compiler from using vectors.
"""

import numpy as np

from cl_keras.loops import compiled

CHANNELS = 64
"""Channels that are transformed together; the number of channels must be a multiple of it."""
POINTS = (0.625, 1.5)
"""a and b. Besides 0 and infinity, the polynomials are evaluated at ±a and ±b."""

U = np.uint64
# Global names, which compiled functions treat as float32 constants, and so stay in float32.
ZERO = np.float32(0)
A, B = (np.float32(point) for point in POINTS)
A2, B2 = (np.float32(point**2) for point in POINTS)
A3, B3 = (np.float32(point**3) for point in POINTS)
PRODUCT = np.float32((POINTS[0] * POINTS[1]) ** 2)
SUM = np.float32(POINTS[0] ** 2 + POINTS[1] ** 2)


@compiled
def to_tiles(images, shift, reach, tiles, begin, end):
    """Transforms tiles of images: Bᵀ·d·B for reach 1, and A·d·Aᵀ for reach 0.

    Args:
        images: `[b, h, w, c]`, their bits as unsigned integers: float32, or the upper half of it.
        shift: number of missing lower bits: 0 for float32, 16 for bfloat16.
        reach: number of pixels by which a tile reaches beyond its 4×4 pixels on each side.
        tiles: float32 `[36, b·⌈h/4⌉·⌈w/4⌉, c]`, to be filled.
        begin, end: the images to work on.
    """
    height, width, channels = images.shape[1:]
    down, across, side = -(-height // 4), -(-width // 4), 4 + 2 * reach
    row, plane = (4 * across + 2 * reach) * channels, tiles.shape[1] * channels
    source, target = images.reshape(images.size), tiles.reshape(tiles.size)
    padded = np.zeros((4 * down + 2 * reach) * row, np.float32)
    bits = padded.view(np.uint32)
    one, two = np.empty(36 * CHANNELS, np.float32), np.empty(36 * CHANNELS, np.float32)
    for image in range(begin, end):
        for y in range(height):
            at = (y + reach) * row + reach * channels
            _widen(
                source, (image * height + y) * width * channels, shift, bits, at, width * channels
            )
        for y in range(down):
            for x in range(across):
                tile = ((image * down + y) * across + x) * channels
                for channel in range(0, channels, CHANNELS):
                    corner = 4 * y * row + 4 * x * channels + channel
                    for i in range(side):
                        for j in range(side):
                            at = corner + i * row + j * channels
                            _copy(padded, at, one, (6 * i + j) * CHANNELS)
                    for j in range(side):
                        _evaluate(reach, one, two, j * CHANNELS, 6 * CHANNELS)
                    for i in range(6):
                        _evaluate(reach, two, one, 6 * i * CHANNELS, CHANNELS)
                    for i in range(36):
                        _copy(one, i * CHANNELS, target, i * plane + tile + channel)


@compiled
def from_tiles(tiles, reach, images, shift, begin, end):
    """The transposes of `to_tiles`: sums of B·v·Bᵀ for reach 1, and Aᵀ·v·A for reach 0.

    Args:
        tiles: float32 `[36, b·⌈h/4⌉·⌈w/4⌉, c]`.
        reach: as in `to_tiles`; what tiles have in common is summed.
        images: `[b, h, w, c]`, their bits, to be filled.
        shift: as in `to_tiles`; rounded to the nearest number.
        begin, end: the images to work on.
    """
    height, width, channels = images.shape[1:]
    down, across, side = -(-height // 4), -(-width // 4), 4 + 2 * reach
    row, plane = (4 * across + 2 * reach) * channels, tiles.shape[1] * channels
    source, target = tiles.reshape(tiles.size), images.reshape(images.size)
    padded = np.zeros((4 * down + 2 * reach) * row, np.float32)
    bits = padded.view(np.uint32)
    one, two = np.empty(36 * CHANNELS, np.float32), np.empty(36 * CHANNELS, np.float32)
    for image in range(begin, end):
        padded[:] = ZERO
        for y in range(down):
            for x in range(across):
                tile = ((image * down + y) * across + x) * channels
                for channel in range(0, channels, CHANNELS):
                    for i in range(36):
                        _copy(source, i * plane + tile + channel, one, i * CHANNELS)
                    for j in range(6):
                        _interpolate(reach, one, two, j * CHANNELS, 6 * CHANNELS)
                    for i in range(side):
                        _interpolate(reach, two, one, 6 * i * CHANNELS, CHANNELS)
                    corner = 4 * y * row + 4 * x * channels + channel
                    for i in range(side):
                        for j in range(side):
                            at = corner + i * row + j * channels
                            _add(one, (6 * i + j) * CHANNELS, padded, at)
        for y in range(height):
            at = (y + reach) * row + reach * channels
            _narrow(
                bits, at, shift, target, (image * height + y) * width * channels, width * channels
            )


@compiled
def _evaluate(reach, source, target, begin, step):
    """Along one axis of a tile: Bᵀ·d of six numbers for reach 1, A·d of four for reach 0."""
    first, step = U(begin), U(step)
    if reach:
        for k in range(U(CHANNELS)):
            i = first + k
            d0, d1, d2 = source[i], source[i + step], source[i + U(2) * step]
            d3, d4, d5 = (
                source[i + U(3) * step],
                source[i + U(4) * step],
                source[i + U(5) * step],
            )
            even, odd = d4 - B2 * d2, A * (d3 - B2 * d1)
            target[i] = PRODUCT * d0 - SUM * d2 + d4
            target[i + step] = even + odd
            target[i + U(2) * step] = even - odd
            even, odd = d4 - A2 * d2, B * (d3 - A2 * d1)
            target[i + U(3) * step] = even + odd
            target[i + U(4) * step] = even - odd
            target[i + U(5) * step] = PRODUCT * d1 - SUM * d3 + d5
    else:
        for k in range(U(CHANNELS)):
            i = first + k
            d0, d1, d2, d3 = (
                source[i],
                source[i + step],
                source[i + U(2) * step],
                source[i + U(3) * step],
            )
            even, odd = d0 + A2 * d2, A * d1 + A3 * d3
            target[i] = d0
            target[i + step] = even + odd
            target[i + U(2) * step] = even - odd
            even, odd = d0 + B2 * d2, B * d1 + B3 * d3
            target[i + U(3) * step] = even + odd
            target[i + U(4) * step] = even - odd
            target[i + U(5) * step] = d3


@compiled
def _interpolate(reach, source, target, begin, step):
    """The transposes of `_evaluate`: B·v, six numbers, for reach 1; Aᵀ·v, four, for reach 0."""
    first, step = U(begin), U(step)
    for k in range(U(CHANNELS)):
        i = first + k
        v0, v1, v2 = source[i], source[i + step], source[i + U(2) * step]
        v3, v4, v5 = source[i + U(3) * step], source[i + U(4) * step], source[i + U(5) * step]
        sum_a, difference_a, sum_b, difference_b = v1 + v2, A * (v1 - v2), v3 + v4, B * (v3 - v4)
        if reach:
            target[i] = PRODUCT * v0
            target[i + step] = PRODUCT * v5 - B2 * difference_a - A2 * difference_b
            target[i + U(2) * step] = -SUM * v0 - B2 * sum_a - A2 * sum_b
            target[i + U(3) * step] = difference_a + difference_b - SUM * v5
            target[i + U(4) * step] = v0 + sum_a + sum_b
            target[i + U(5) * step] = v5
        else:
            target[i] = v0 + sum_a + sum_b
            target[i + step] = difference_a + difference_b
            target[i + U(2) * step] = A2 * sum_a + B2 * sum_b
            target[i + U(3) * step] = A2 * difference_a + B2 * difference_b + v5


@compiled
def _copy(source, begin, target, at):
    for k in range(U(CHANNELS)):
        target[U(at) + k] = source[U(begin) + k]


@compiled
def _add(source, begin, target, at):
    for k in range(U(CHANNELS)):
        target[U(at) + k] += source[U(begin) + k]


@compiled
def _widen(source, begin, shift, target, at, count):
    """Copies numbers, given and stored as bits, to float32."""
    for k in range(U(count)):
        target[U(at) + k] = np.uint32(source[U(begin) + k]) << np.uint32(shift)


@compiled
def _narrow(source, begin, shift, target, at, count):
    """Copies float32 numbers, as bits, to a type without the lower bits; half rounds to even."""
    half = np.uint32((1 << shift >> 1) - (shift > 0))
    last = np.uint32(shift > 0)
    for k in range(U(count)):
        bits = source[U(begin) + k]
        rounded = np.uint32(bits + np.uint32(half + (np.uint32(bits >> np.uint32(shift)) & last)))
        target[U(at) + k] = rounded >> np.uint32(shift)
