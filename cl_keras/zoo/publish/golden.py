"""Golden files: images with the features of an encoder, by which to verify it later."""

import pathlib
from typing import BinaryIO

import keras
import numpy as np

from cl_keras.zoo import cards
from cl_keras.zoo.weights import tensors

RANDOM, SMOOTH = 2, 2
TOLERANCE = 1e-5
"""Largest allowed difference, as a share of the largest feature."""


def images(image_size: int, channels: int) -> np.ndarray:
    """uint8 `[4, image_size, image_size, channels]`, the same everywhere: noise, and waves."""
    generator = np.random.Generator(np.random.PCG64(0))
    noise = generator.integers(0, 256, [RANDOM, image_size, image_size, channels], np.uint8)
    y, x = np.mgrid[0:image_size, 0:image_size][..., None] / image_size
    frequency = np.arange(1, SMOOTH + 1).reshape(-1, 1, 1, 1)
    phase = 2 * np.pi * (frequency * x + np.arange(1, channels + 1) * y)
    waves = 127.5 + 127.5 * np.sin(phase)
    return np.concatenate([noise, np.rint(waves).astype(np.uint8)])


def write(path: pathlib.Path, encoder: keras.Model, description: cards.Encoder) -> None:
    """Writes the golden file of an encoder."""
    shown = images(description.image_size, description.channels)
    tensors.write(path, {"images": shown, "features": _features(encoder, shown)})


def gap(encoder: keras.Model, stream: BinaryIO, card: cards.Card) -> float:
    """The largest difference between an encoder's features and those of its golden file.

    It is a share of the largest feature, and at most `TOLERANCE` if all is well.
    """
    size, channels = card.encoder.image_size, card.encoder.channels
    rows = RANDOM + SMOOTH
    expected = {
        "images": ((rows, size, size, channels), "uint8"),
        "features": ((rows, card.encoder.features), "float32"),
    }
    found = tensors.read(stream, expected, f"{card.name}: the golden file")
    difference = np.abs(_features(encoder, found["images"]) - found["features"]).max()
    return float(difference / np.abs(found["features"]).max())


def _features(encoder, shown):
    return keras.ops.convert_to_numpy(encoder(shown, training=False)).astype(np.float32)
