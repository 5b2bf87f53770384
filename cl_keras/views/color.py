"""Operations on the colors of a view, each on planes `[b, h, w]`, one per channel.

They match those of Pillow and torchvision, clip values to 0..255 after each, and do not round.
"""

from collections.abc import Sequence

import tensorflow as tf

LUMA = (0.299, 0.587, 0.114)
"""Weights of R, G and B in gray (ITU-R BT.601), as in Pillow, torchvision and TensorFlow."""

SOLARIZE_FROM = 127.5

Planes = list[tf.Tensor]


def brightness(planes: Planes, factor: tf.Tensor) -> Planes:
    """Multiplies each value by `factor`, `[b]`."""
    return [_least(plane * _each(factor), 255.0) for plane in planes]


def contrast(planes: Planes, factor: tf.Tensor) -> Planes:
    """Scales the distance of each value from the mean gray of the view by `factor`, `[b]`.

    If there are not three channels, each has its own mean.
    """
    means = [tf.reduce_mean(plane, axis=[1, 2]) for plane in planes]
    if len(planes) == 3:
        means = [gray(means)] * 3
    return [
        _clip(plane * _each(factor) + _each((1.0 - factor) * mean))
        for plane, mean in zip(planes, means, strict=True)
    ]


def saturation(planes: Planes, factor: tf.Tensor) -> Planes:
    """Scales the distance of RGB values from their gray by `factor`, `[b]`; 0 is gray."""
    luma = gray(planes)
    return [_clip(plane * _each(factor) + _each(1.0 - factor) * luma) for plane in planes]


def hue(planes: Planes, turns: tf.Tensor) -> Planes:
    """Rotates the hue of RGB values by `turns`, `[b]`, keeping the value and saturation of HSV."""
    red, green, blue = planes
    largest = _largest(_largest(red, green), blue)
    least = _least(_least(red, green), blue)
    chroma = largest - least
    red_leads, green_leads = red >= largest, green >= largest
    difference = tf.where(red_leads, green - blue, tf.where(green_leads, blue - red, red - green))
    sextant = tf.where(red_leads, 0.0, tf.where(green_leads, 2.0, 4.0))
    angle = sextant + difference / (chroma + 1e-9) + _each(6.0 * turns)
    angle -= 6.0 * tf.floor(angle * (1 / 6))  # in [0, 6): red at 0, green at 2, blue at 4
    shares = (tf.abs(angle - 3.0) - 1.0, 2.0 - tf.abs(angle - 2.0), 2.0 - tf.abs(angle - 4.0))
    return [least + chroma * _least(_largest(share, 0.0), 1.0) for share in shares]


def grayscale(planes: Planes, applies: tf.Tensor) -> Planes:
    """Replaces RGB views by their gray, where `applies`, bool `[b]`."""
    luma = gray(planes)
    return [tf.where(_each(applies), luma, plane) for plane in planes]


def solarize(planes: Planes, applies: tf.Tensor) -> Planes:
    """Inverts values of at least 127.5, where `applies`, bool `[b]`."""
    return [
        tf.where(_each(applies) & (plane >= SOLARIZE_FROM), 255.0 - plane, plane)
        for plane in planes
    ]


def gray(channels: Sequence[tf.Tensor]) -> tf.Tensor:
    """The luma of R, G and B, with their shape."""
    return sum(weight * channel for weight, channel in zip(LUMA, channels, strict=True))


def _clip(plane):
    return _least(_largest(plane, 0.0), 255.0)


# NOTE: on a CPU, XLA's own minimum and maximum take twice as long, to handle NaN.
def _largest(one, other):
    return tf.where(one > other, one, other)


def _least(one, other):
    return tf.where(one < other, one, other)


def _each(values):
    return values[:, None, None]
