"""Compiled loops that crop and resize an image; they visit only the weights that are not zero."""

import math

import numba
import numpy as np

from cl_keras.loops import compiled

# Global names, which compiled functions treat as float32 constants, and so stay in float32.
ZERO, HALF, ONE, TWO, TOP = (np.float32(number) for number in (0, 0.5, 1, 2, 255))


@compiled
def cut_bytes(image, y, x, height, width, flip, out):
    """Resizes a part of an image and perhaps flips it, rounded to whole levels.

    Args:
        image: uint8 `[h, w, c]`.
        y, x, height, width: float32, of the part, in pixels; fractions allowed.
        flip: bool, left to right.
        out: uint8 `[size, size, c]`, to be filled.
    """
    size, channels = out.shape[1:]
    top, down = _taps(y, height, size, image.shape[0], False)
    begin, offset, across = _offsets(x, width, size, image.shape[1], channels, flip)
    line = np.empty(np.int64(offset.max()) + len(across) * channels, np.float32)
    lines = image.reshape(len(image), image.shape[1] * channels)
    levels = np.empty((channels, size), np.float32)
    for row in range(size):
        _resize_row(lines, top[row], down[:, row], begin, line, offset, across, levels)
        if channels == 3:  # one loop over all channels is four times as fast as one for each
            red, green, blue = levels[0], levels[1], levels[2]
            target = out[row].reshape(3 * size)
            for i in range(size):
                target[3 * i] = np.uint8(min(max(red[i], ZERO), TOP) + HALF)
                target[3 * i + 1] = np.uint8(min(max(green[i], ZERO), TOP) + HALF)
                target[3 * i + 2] = np.uint8(min(max(blue[i], ZERO), TOP) + HALF)
        else:
            for channel in range(channels):
                each, target = levels[channel], out[row, :, channel]
                for i in range(size):
                    target[i] = np.uint8(min(max(each[i], ZERO), TOP) + HALF)


@compiled
def _taps(start, length, size, limit, flip):
    """The pixels that contribute to each pixel of a resized axis, with their weights.

    Returns:
        first: uint32 `[size]`, the first of `taps` contributing pixels.
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
    """Resizes a part of an image with an antialiasing triangle filter, like Pillow.

    Args:
        image: `[h, w, c]`.
        y, x, height, width, flip: as in `cut_bytes`.
        planes: float32 `[c, size, size]`, to be filled.
    """
    channels, size = planes.shape[:2]
    top, down = _taps(y, height, size, image.shape[0], False)
    begin, offset, across = _offsets(x, width, size, image.shape[1], channels, flip)
    line = np.empty(np.int64(offset.max()) + len(across) * channels, np.float32)
    lines = image.reshape(len(image), image.shape[1] * channels)
    for row in range(size):
        _resize_row(lines, top[row], down[:, row], begin, line, offset, across, planes[:, row])


@compiled
def _offsets(x, width, size, columns, channels, flip):
    """As `_taps` of the columns, by position in a row of a part of the image.

    Returns:
        begin: position in a row of the image at which the part begins.
        offset: uint64 `[size]`, position in the part of the first contributing value.
        weights: float32 `[taps, size]`.
    """
    left, across = _taps(x, width, size, columns, flip)
    begin = left.min()
    offset = ((left - begin) * np.uint32(channels)).astype(np.uint64)
    return np.int64(begin) * channels, offset, across


@numba.njit(inline="always")  # a call with so many arrays costs a tenth of the row
def _resize_row(lines, top, down, begin, line, offset, across, levels):
    """Makes a row of the result.

    Args:
        lines: the image, `[h, w·c]`.
        top: the first row that contributes.
        down: float32 `[taps]`, the weights of the rows from there on.
        begin, offset, across: from `_offsets`.
        line: float32, to be filled: the part of the rows that contributes, resized vertically.
        levels: float32 `[c, size]`, to be filled.
    """
    span, channels = len(line), len(levels)
    for tap in range(len(down)):
        source, weight = lines[top + tap, begin : begin + span], down[tap]
        if tap == 0:
            for i in range(span):
                line[i] = weight * np.float32(source[i])
        else:
            for i in range(span):
                line[i] += weight * np.float32(source[i])
    if channels == 3 and len(across) == 2:
        _two_taps(line, offset, across, levels)
    elif channels == 3 and len(across) == 3:
        _three_taps(line, offset, across, levels)
    elif channels == 3:
        _more_taps(line, offset, across, levels)
    else:
        for channel in range(channels):
            _one_channel(line[channel:], offset, across, channels, levels[channel])


@compiled
def _two_taps(line, offset, across, row):
    """Resizes a row of three channels, for a result that is not smaller than the part."""
    red, green, blue = row[0], row[1], row[2]
    for i in range(len(offset)):
        at, one, other = offset[i], across[0, i], across[1, i]
        red[i] = one * line[at] + other * line[at + np.uint64(3)]
        green[i] = one * line[at + np.uint64(1)] + other * line[at + np.uint64(4)]
        blue[i] = one * line[at + np.uint64(2)] + other * line[at + np.uint64(5)]


@compiled
def _three_taps(line, offset, across, row):
    """Resizes a row of three channels, for a result up to a third smaller than the part.

    The most frequent case, in two thirds of the time that `_more_taps` takes.
    """
    red, green, blue = row[0], row[1], row[2]
    for i in range(len(offset)):
        at, one, two, three = offset[i], across[0, i], across[1, i], across[2, i]
        second, third = at + np.uint64(3), at + np.uint64(6)
        red[i] = one * line[at] + two * line[second] + three * line[third]
        at, second, third = at + np.uint64(1), second + np.uint64(1), third + np.uint64(1)
        green[i] = one * line[at] + two * line[second] + three * line[third]
        at, second, third = at + np.uint64(1), second + np.uint64(1), third + np.uint64(1)
        blue[i] = one * line[at] + two * line[second] + three * line[third]


@compiled
def _more_taps(line, offset, across, row):
    """Resizes a row of three channels."""
    red, green, blue = row[0], row[1], row[2]
    for i in range(len(offset)):
        at, r, g, b = offset[i], ZERO, ZERO, ZERO
        for tap in range(len(across)):
            weight = across[tap, i]
            r += weight * line[at]
            g += weight * line[at + np.uint64(1)]
            b += weight * line[at + np.uint64(2)]
            at += np.uint64(3)
        red[i], green[i], blue[i] = r, g, b


@compiled
def _one_channel(line, offset, across, channels, row):
    """Resizes a row of one channel; `line` holds all `channels`, interleaved."""
    for i in range(len(offset)):
        at, total = offset[i], ZERO
        for tap in range(len(across)):
            total += across[tap, i] * line[at]
            at += np.uint64(channels)
        row[i] = total
