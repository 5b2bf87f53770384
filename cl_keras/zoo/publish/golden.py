"""Golden files: images with the features of an encoder, by which to verify it later."""

import keras
import numpy as np

from cl_keras.zoo.weights import tensors

RANDOM, SMOOTH = 2, 2
TOLERANCE = 1e-5
"""Largest allowed difference, as a share of the largest feature."""


def images(image_size, channels):
    """uint8 `[4, image_size, image_size, channels]`, the same everywhere: noise, and waves."""
    generator = np.random.Generator(np.random.PCG64(0))
    noise = generator.integers(0, 256, [RANDOM, image_size, image_size, channels], np.uint8)
    y, x = np.mgrid[0:image_size, 0:image_size] / image_size
    waves = np.empty([SMOOTH, image_size, image_size, channels])
    for i in range(SMOOTH):
        for channel in range(channels):
            phase = 2 * np.pi * ((i + 1) * x + (channel + 1) * y)
            waves[i, :, :, channel] = 127.5 + 127.5 * np.sin(phase)
    return np.concatenate([noise, np.rint(waves).astype(np.uint8)])


def write(path, encoder, description):
    """Writes the golden file of an encoder.

    Args:
        path: path of the file, .safetensors.
        encoder: the `keras.Model`.
        description: its `cards.Encoder`.
    """
    shown = images(description.image_size, description.channels)
    content = {"images": shown, "features": _features(encoder, shown)}
    tensors.write(path, content)


def gap(encoder, stream, card):
    """The difference between an encoder and the features of its golden file.

    Args:
        encoder: the `keras.Model`.
        stream: the open golden file.
        card: its `cards.Card`.

    Returns:
        The largest difference, as a share of the largest feature.

    Raises:
        ValueError: if the file does not match such an encoder.
    """
    size, channels = card.encoder.image_size, card.encoder.channels
    rows = RANDOM + SMOOTH
    expected = {
        "images": ((rows, size, size, channels), "uint8"),
        "features": ((rows, card.encoder.features), "float32"),
    }
    found = tensors.read(stream, expected, f"{card.name}: {card.golden.address}")
    difference = np.abs(_features(encoder, found["images"]) - found["features"]).max()
    return float(difference / np.abs(found["features"]).max())


def _features(encoder, shown):
    return keras.ops.convert_to_numpy(encoder(shown, training=False)).astype(np.float32)
