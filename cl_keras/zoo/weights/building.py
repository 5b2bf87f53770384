"""Builds the networks that cards describe, and fills them with weights."""

import math
from collections.abc import Callable
from typing import Any, BinaryIO

import keras
import tensorflow as tf

from cl_keras.recipes import build
from cl_keras.recipes.config import Config
from cl_keras.spelling import did_you_mean
from cl_keras.zoo import cards
from cl_keras.zoo.weights import tensors, variables

MAX_VARIABLES = 10_000
"""Limit for a model; MoCo with a ResNet-50 has about 700."""


def filled(make: Callable[[], keras.Model], stream: BinaryIO, what: str) -> keras.Model:
    """A model with the weights of a file, which must have exactly its variables.

    The model is first built in a separate graph, where variables have shapes but no memory, and
    abandoned as soon as it needs more of them than the file can hold. So a card cannot request a
    network that its file does not fill, in width or in number of layers. Errors name `what`.
    """
    size = stream.seek(0, 2)
    with tf.Graph().as_default(), tf.variable_creator_scope(_bounded(size, what)):
        expected = variables.forms(make())
    arrays = tensors.read(stream, expected, what)
    model = make()
    variables.assign(model, arrays)
    return model


def _bounded(size, what):
    """A variable creator for a model whose weights are in a file of `size` bytes.

    It allows several times as many, for the optimizer and the metrics, which are not in the file.
    """
    left, count = 8 * size + 2**20, MAX_VARIABLES

    def create(make, **options):
        nonlocal left, count
        variable = make(**options)
        left -= math.prod(variable.shape) * variable.dtype.size
        count -= 1
        if left < 0 or count < 0:
            raise ValueError(
                f"The card of {what} requests more weights than its {size} bytes hold."
            )
        return variable

    return create


def encoder(description: cards.Encoder) -> keras.Model:
    """Builds the untrained encoder of a card."""
    builders = build.ENCODERS
    if description.name not in builders:
        raise ValueError(
            f"This version of cl_keras has no encoder {description.name!r}."
            f"{did_you_mean(description.name, builders, 3)} It has {', '.join(builders)}."
        )
    builder = builders[description.name]
    names = ("image_size", "channels", "width", "norm", *(["stem"] if description.stem else []))
    options = {name: getattr(description, name) for name in names}
    try:
        built = builder(**options)
    except TypeError as error:
        raise ValueError(f"{description.name} cannot be built: {error}.") from None
    if built.output_shape[-1] != description.features:
        raise ValueError(
            f"{description.name} of width {description.width:g} has {built.output_shape[-1]} "
            f"features; the card says {description.features}."
        )
    return built


def pretraining(options: dict[str, Any], encoder: cards.Encoder, where: str) -> keras.Model:
    """Builds an untrained method from a configuration, whose origin `where` errors name."""
    shape = (encoder.image_size, encoder.image_size, encoder.channels)
    config = Config.from_dict(options, where)
    if config.encoder is None or config.images is None or config.batch_size is None:
        raise ValueError(f"{where} must have encoder, images and batch_size.")
    steps = max(1, config.images // config.batch_size)  # an incomplete last batch is dropped
    try:
        config = build.resolve(config, config.images, shape)
        return build.make_model(config, shape, steps)
    except (TypeError, KeyError, AttributeError, ArithmeticError) as error:
        raise ValueError(f"No model can be built from {where}: {error!r}.") from None
