"""Shared by the tests of exports: a tiny encoder, images, and a call of a signature."""

import functools
import io

import keras
import numpy as np
import tensorflow as tf
from PIL import Image

SIDE = 16
TOLERANCE = 1e-5


def tiny_encoder(channels=3, side=None, extra=()):
    """Convolution and BatchNormalization with statistics other than 0 and 1."""
    keras.utils.set_random_seed(7)
    inputs = keras.Input([side, side, channels])
    x = inputs
    for layer in extra:
        x = layer(x)
    x = keras.layers.Rescaling(1 / 255)(x)
    # oneDNN fuses these, and crashes on an empty batch.
    x = keras.layers.Conv2D(4, 3, activation="relu")(x)
    x = keras.layers.Conv2D(5, 3, strides=2, activation="relu")(x)
    x = keras.layers.BatchNormalization(name="norm")(x)
    x = keras.layers.Activation("gelu")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, keras.layers.Dense(6)(x), name="tiny")
    model.get_layer("norm").moving_mean.assign([0.1, -0.3, 0.2, 0.5, 0.0])
    model.get_layer("norm").moving_variance.assign([0.5, 2.0, 0.1, 0.7, 1.5])
    return model


def random_images(count, height=SIDE, width=SIDE, channels=3, seed=0):
    shape = [count, height, width, channels]
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def smooth_image(height, width, seed=0):
    image = Image.fromarray(random_images(1, 5, 6, seed=seed)[0])
    return np.asarray(image.resize((width, height), Image.Resampling.BICUBIC))


def encoded(array, kind="PNG", **options):
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, kind, **options)
    return buffer.getvalue()


load = functools.lru_cache(maxsize=1)(tf.saved_model.load)


def serve(version, signature="serving_default", output="embedding", **inputs):
    tensors = {name: tf.constant(value) for name, value in inputs.items()}
    return load(str(version)).signatures[signature](**tensors)[output].numpy()
