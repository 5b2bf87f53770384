"""A part of an image, cut and resized: compiled loops that visit the weights that are not zero."""

import math

import numba
import numpy as np

# Plain names: a compiled function takes them as constants of float32, and stays in float32.
ZERO, HALF, ONE, TWO, TOP = (np.float32(number) for number in (0, 0.5, 1, 2, 255))


def compiled(function):
    """Compiled at its first call; kept beside the module, or in the user's cache, for the next."""
    options = {"nogil": True, "fastmath": True, "error_model": "numpy"}
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:  # neither can be written
        return numba.njit(**options)(function)


@compiled
def cut_bytes(image, y, x, height, width, flip, out):
    """A part of an image, resized and perhaps flipped, rounded to whole levels.

    Args:
        image: uint8 `[h, w, c]`.
        y, x, height, width: float32, of the part, in pixels; fractions allowed.
        flip: bool, left to right.
        out: uint8 `[size, size, c]`, filled.
    """
    size, channels = out.shape[1:]
    planes = np.empty((channels, size, size), np.float32)
    cut(image, y, x, height, width, flip, planes)
    for row in range(size):
        for channel in range(channels):
            plane, target = planes[channel, row], out[row, :, channel]
            for i in range(size):
                target[i] = np.uint8(min(max(plane[i], ZERO), TOP) + HALF)


@compiled
def _taps(start, length, size, limit, flip):
    """For each pixel of a resized axis, those that it is made of, and their weights.

    Returns:
        first: uint32 `[size]`, the first of `taps` neighbors.
        weights: float32 `[taps, size]`.
    """
    scale = length / np.float32(size)
    support = max(scale, ONE)
    taps = min(math.ceil(TWO * support), limit)
    first, weights = np.empty(size, np.uint32), np.empty((taps, size), np.float32)
    for i in range(size):
        center = start + (np.float32(i) + HALF) * scale - HALF
        begin = min(max(math.floor(center - support) + 1, 0), limit - taps)
        at = size - 1 - i if flip else i
        first[at], total = begin, ZERO
        for tap in range(taps):
            weight = max(ONE - abs(center - np.float32(begin + tap)) / support, ZERO)
            weights[tap, at] = weight
            total += weight
        for tap in range(taps):
            weights[tap, at] /= total
    return first, weights


@compiled
def cut(image, y, x, height, width, flip, planes):
    """A part of an image, resized by a triangle filter with antialiasing, as Pillow does it.

    Args:
        image: `[h, w, c]`.
        y, x, height, width, flip: as in `cut_bytes`.
        planes: float32 `[c, size, size]`, filled.
    """
    rows, columns, channels = image.shape
    size = planes.shape[1]
    top, down = _taps(y, height, size, rows, False)
    left, across = _taps(x, width, size, columns, flip)
    begin = np.int64(left.min())
    span = (np.int64(left.max()) - begin + len(across)) * channels
    place = ((left - np.uint32(begin)) * np.uint32(channels)).astype(np.uint64)
    line = np.empty(span, np.float32)
    for row in range(size):
        for tap in range(len(down)):
            source = image[top[row] + tap].reshape(columns * channels)
            source, weight = source[begin * channels :][:span], down[tap, row]
            if tap == 0:
                for i in range(span):
                    line[i] = weight * np.float32(source[i])
            else:
                for i in range(span):
                    line[i] += weight * np.float32(source[i])
        if channels == 3 and len(across) == 2:
            _two_taps(line, place, across, planes[:, row])
        elif channels == 3:
            _more_taps(line, place, across, planes[:, row])
        else:
            for channel in range(channels):
                _one_channel(line[channel:], place, across, channels, planes[channel, row])


@compiled
def _two_taps(line, place, across, row):
    """A row in color of a part that is not larger than the result."""
    red, green, blue = row[0], row[1], row[2]
    for i in range(len(place)):
        at, one, other = place[i], across[0, i], across[1, i]
        red[i] = one * line[at] + other * line[at + np.uint64(3)]
        green[i] = one * line[at + np.uint64(1)] + other * line[at + np.uint64(4)]
        blue[i] = one * line[at + np.uint64(2)] + other * line[at + np.uint64(5)]


@compiled
def _more_taps(line, place, across, row):
    """A row in color."""
    red, green, blue = row[0], row[1], row[2]
    for i in range(len(place)):
        at, r, g, b = place[i], ZERO, ZERO, ZERO
        for tap in range(len(across)):
            weight = across[tap, i]
            r += weight * line[at]
            g += weight * line[at + np.uint64(1)]
            b += weight * line[at + np.uint64(2)]
            at += np.uint64(3)
        red[i], green[i], blue[i] = r, g, b


@compiled
def _one_channel(line, place, across, channels, row):
    """A row of one of any number of channels."""
    for i in range(len(place)):
        at, total = place[i], ZERO
        for tap in range(len(across)):
            total += across[tap, i] * line[at]
            at += np.uint64(channels)
        row[i] = total
