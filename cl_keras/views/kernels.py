"""Loops that make views of one image after the other, compiled for a CPU.

An image stays in the cache from its crop to its last operation, operations that are not drawn are
skipped, and one compilation works for all sizes. Channels are separate planes until the end.
`stages` does the same on a GPU, by matrices.
"""

import math

import numpy as np

from cl_keras.data.crop_kernel import cut
from cl_keras.loops import compiled

# Global names, which compiled functions treat as float32 constants, and so stay in float32.
ZERO, HALF, ONE, TWO, THREE, FOUR, SIX, TOP = (np.float32(n) for n in (0, 0.5, 1, 2, 3, 4, 6, 255))
RED, GREEN, BLUE = (np.float32(weight) for weight in (0.299, 0.587, 0.114))  # color.LUMA
TINY, MIDDLE = np.float32(1e-9), np.float32(127.5)  # of color.hue, color.SOLARIZE_FROM
MIN_WEIGHT = np.float32(1e-5)
"""Smaller weights of a blur are left out: together less than 0.01 of 255 levels."""


@compiled
def make(images, drawn, radius, cuts, out):
    """Makes a view of each image.

    Args:
        images: `[b, h, w, c]`.
        drawn: float32 `[b, 12]`, a box, a flip and a `draws.Look`; without cuts the box is ignored.
        radius: maximum reach of a blur in pixels.
        cuts: whether to crop and resize; otherwise images have the size of the views.
        out: float32 `[b, size, size, c]`, to be filled.
    """
    size, channels = out.shape[1], out.shape[3]
    planes = np.empty((channels, size, size), np.float32)
    blurred = np.empty_like(planes)
    for i in range(images.shape[0]):
        y, x, height, width, flip = drawn[i, :5]
        brightness, contrast, saturation, turns, gray, sigma, solarize = drawn[i, 5:]
        if cuts:
            cut(images[i], y, x, height, width, flip > ZERO, planes)
        else:
            _split(images[i], planes)
        if brightness != ONE or contrast != ONE:
            _brighten(planes, brightness, contrast)
        if channels == 3 and (saturation != ONE or turns != ZERO):
            _turn_colors(planes, saturation, turns)
        alike = channels == 3 and gray > ZERO
        if alike:
            _gray(planes)
        seen = planes[:1] if alike else planes
        if sigma > ZERO:
            _blur(seen, sigma, radius, blurred)
            seen = blurred[: len(seen)]
        if solarize > ZERO:
            _solarize(seen)
        _join(seen, out[i])


@compiled
def _split(image, planes):
    """Splits an image into planes; three channels in one loop, which is four times as fast."""
    columns, channels = image.shape[1:]
    for row in range(len(image)):
        if channels == 3:
            red, green, blue = planes[0, row], planes[1, row], planes[2, row]
            source = image[row].reshape(3 * columns)
            for i in range(columns):
                red[i] = np.float32(source[3 * i])
                green[i] = np.float32(source[3 * i + 1])
                blue[i] = np.float32(source[3 * i + 2])
        else:
            for channel in range(channels):
                plane, source = planes[channel, row], image[row, :, channel]
                for i in range(columns):
                    plane[i] = np.float32(source[i])


@compiled
def _join(planes, out):
    """Joins planes into an image; a single plane becomes every channel."""
    size, channels = out.shape[1:]
    last = len(planes) - 1
    for row in range(len(out)):
        if channels == 3:
            red, green, blue = planes[0, row], planes[min(1, last), row], planes[last, row]
            target = out[row].reshape(3 * size)
            for i in range(size):
                target[3 * i] = red[i]
                target[3 * i + 1] = green[i]
                target[3 * i + 2] = blue[i]
        else:
            for channel in range(channels):
                plane, target = planes[min(channel, last), row], out[row, :, channel]
                for i in range(size):
                    target[i] = plane[i]


@compiled
def _brighten(planes, brightness, contrast):
    """`color.brightness`, then `color.contrast` with the mean of the brightened values."""
    channels = len(planes)
    sums = np.zeros(channels, np.float32)
    for channel in range(channels):
        for at in range(planes.shape[1]):
            row, total = planes[channel, at], ZERO  # row by row, since one sum would lose digits
            for i in range(len(row)):
                bright = min(row[i] * brightness, TOP)
                row[i] = bright
                total += bright
            sums[channel] += total
    means = sums / np.float32(planes[0].size)
    if channels == 3:
        means[:] = RED * means[0] + GREEN * means[1] + BLUE * means[2]
    if contrast == ONE:
        return
    for channel in range(channels):
        shift = (ONE - contrast) * means[channel]
        for at in range(planes.shape[1]):
            row = planes[channel, at]
            for i in range(len(row)):
                row[i] = min(max(row[i] * contrast + shift, ZERO), TOP)


@compiled
def _turn_colors(planes, saturation, turns):
    """`color.saturation` and `color.hue`."""
    rest, angle_of_turn = ONE - saturation, SIX * turns
    for row in range(planes.shape[1]):
        reds, greens, blues = planes[0, row], planes[1, row], planes[2, row]
        for i in range(len(reds)):
            red, green, blue = reds[i], greens[i], blues[i]
            luma = rest * (RED * red + GREEN * green + BLUE * blue)
            reds[i] = min(max(red * saturation + luma, ZERO), TOP)
            greens[i] = min(max(green * saturation + luma, ZERO), TOP)
            blues[i] = min(max(blue * saturation + luma, ZERO), TOP)
        if turns == ZERO:
            continue
        for i in range(len(reds)):
            red, green, blue = reds[i], greens[i], blues[i]
            largest, least = max(max(red, green), blue), min(min(red, green), blue)
            chroma = largest - least
            red_leads, green_leads = red >= largest, green >= largest
            difference = green - blue if red_leads else (blue - red if green_leads else red - green)
            sextant = ZERO if red_leads else (TWO if green_leads else FOUR)
            angle = sextant + difference / (chroma + TINY) + angle_of_turn
            angle -= SIX * np.floor(angle * (ONE / SIX))
            reds[i] = least + chroma * min(max(abs(angle - THREE) - ONE, ZERO), ONE)
            greens[i] = least + chroma * min(max(TWO - abs(angle - TWO), ZERO), ONE)
            blues[i] = least + chroma * min(max(TWO - abs(angle - FOUR), ZERO), ONE)


@compiled
def _gray(planes):
    """Puts the luma of three planes into the first."""
    for row in range(planes.shape[1]):
        reds, greens, blues = planes[0, row], planes[1, row], planes[2, row]
        for i in range(len(reds)):
            reds[i] = RED * reds[i] + GREEN * greens[i] + BLUE * blues[i]


@compiled
def _blur(planes, sigma, radius, blurred):
    """`resample.blur` along both axes, into other planes."""
    size = planes.shape[1]
    weights = np.empty(radius + 2, np.float32)
    total = -ONE
    for k in range(radius + 1):
        weights[k] = math.exp(-HALF * (np.float32(k) / sigma) ** 2)
        total += TWO * weights[k]
    for k in range(radius + 1):
        weights[k] /= total
    while radius > 0 and weights[radius] < MIN_WEIGHT:
        radius -= 1
    weights[radius + 1] = ZERO  # neighbors are taken in pairs; an odd last one has no partner
    pad = radius + 1
    line = np.empty(size + 2 * pad, np.float32)
    for channel in range(len(planes)):
        for row in range(size):
            inner = line[pad : pad + size]
            _blur_down(planes[channel], row, weights, radius, inner)
            line[:pad] = inner[0]
            line[pad + size :] = inner[size - 1]
            _blur_across(line, weights, radius, blurred[channel, row])


@compiled
def _blur_down(plane, row, weights, radius, out):
    """Blurs a row with those above and below."""
    last = len(plane) - 1
    source, weight = plane[row], weights[0]
    for i in range(len(out)):
        out[i] = weight * source[i]
    for k in range(1, radius + 1, 2):
        above, below, weight = plane[max(row - k, 0)], plane[min(row + k, last)], weights[k]
        higher, lower = plane[max(row - k - 1, 0)], plane[min(row + k + 1, last)]
        next_weight = weights[k + 1]
        for i in range(len(out)):
            out[i] += weight * (above[i] + below[i]) + next_weight * (higher[i] + lower[i])


@compiled
def _blur_across(line, weights, radius, out):
    """Blurs a line, whose ends are repeated, along itself."""
    size = len(out)
    pad = (len(line) - size) // 2
    source, weight = line[pad:], weights[0]
    for i in range(size):
        out[i] = weight * source[i]
    for k in range(1, radius + 1, 2):
        before, after, weight = line[pad - k :], line[pad + k :], weights[k]
        first, last, next_weight = line[pad - k - 1 :], line[pad + k + 1 :], weights[k + 1]
        for i in range(size):
            out[i] += weight * (before[i] + after[i]) + next_weight * (first[i] + last[i])


@compiled
def _solarize(planes):
    """`color.solarize`."""
    for channel in range(len(planes)):
        for at in range(planes.shape[1]):
            row = planes[channel, at]
            for i in range(len(row)):
                row[i] = TOP - row[i] if row[i] >= MIDDLE else row[i]
