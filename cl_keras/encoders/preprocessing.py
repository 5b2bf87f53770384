"""Normalization of images, as a part of the encoder, so that served encoders take raw pixels."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)
"""Per channel on ImageNet, for values in 0..255 (torchvision's values times 255)."""

GRAY_MEAN = (127.5,)
GRAY_STD = (64.0,)


@keras.saving.register_keras_serializable("cl_keras")
class Preprocessing(keras.layers.Layer):
    """Turns images, uint8 or float in 0..255, into `(x - mean) / std` per channel.

    Args:
        mean: one number for each channel, in 0..255.
        std: one number for each channel.
        image_size: side in pixels for which the encoder is meant; default: None. Nothing is resized
            here; `export.saved_model` reads it.
    """

    def __init__(
        self,
        mean: Sequence[float],
        std: Sequence[float],
        *,
        image_size: int | None = None,
        **kwargs,
    ):
        # Autocasting would round fractions of 0..255 to half precision before they are centered.
        super().__init__(autocast=False, **kwargs)
        self.mean, self.std = tuple(mean), tuple(std)
        self.image_size = image_size
        self.built = True

    def call(self, images):
        wide = tf.float64 if self.compute_dtype == "float64" else tf.float32
        images = (tf.cast(images, wide) - tf.constant(self.mean, wide)) / tf.constant(
            self.std, wide
        )
        return tf.cast(images, self.compute_dtype)

    def compute_output_spec(self, images):
        return keras.KerasTensor(images.shape, dtype=self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        config = {"mean": self.mean, "std": self.std, "image_size": self.image_size}
        return {**super().get_config(), **config}


def preprocessing(channels: int, image_size: int | None = None) -> Preprocessing:
    """`Preprocessing` for color images (3 channels, ImageNet's statistics) or gray ones (1).

    Raises:
        ValueError: for another number of channels.
    """
    if channels == 3:
        return Preprocessing(
            IMAGENET_MEAN, IMAGENET_STD, image_size=image_size, name="preprocessing"
        )
    if channels == 1:
        return Preprocessing(GRAY_MEAN, GRAY_STD, image_size=image_size, name="preprocessing")
    raise ValueError(f"channels must be 1 (gray) or 3 (RGB); received {channels!r}.")
