"""Networks from the words of a card, and their weights from its files."""

import math

import tensorflow as tf

from cl_keras.recipes import build, signatures
from cl_keras.recipes.config import Config
from cl_keras.zoo.cards import names
from cl_keras.zoo.weights import tensors, variables


def filled(make, stream, what):
    """A model with the weights of a file, which must have all of its variables and no others.

    The model is first made in a graph of its own, where variables have shapes but no memory. So a
    card cannot ask for a larger network than its file holds.

    Args:
        make: function that makes the model.
        stream: the open file, a binary one.
        what: the name of the file, for errors.

    Raises:
        ValueError: if the file is not of this model, or is damaged.
    """
    with tf.Graph().as_default():
        expected = variables.forms(make())
    arrays = tensors.read(stream, expected, what)
    model = make()
    variables.assign(model, arrays)
    return model


def encoder(description):
    """The untrained encoder of a card.

    Args:
        description: `cards.Encoder`.

    Raises:
        ValueError: if there is no such encoder, or it cannot be built with these options.
    """
    builders = build.ENCODERS
    if description.name not in builders:
        raise ValueError(
            f"This version of cl_keras has no encoder {description.name!r}."
            f"{names.near(description.name, builders)} It has {', '.join(builders)}."
        )
    builder = builders[description.name]
    options = {"image_size": description.image_size, "channels": description.channels}
    options |= {"width": description.width}
    if description.stem is not None:
        options["stem"] = description.stem
    try:
        built = builder(**options)
    except TypeError as error:
        raise ValueError(f"{description.name} cannot be built: {error}.") from None
    if built.output_shape[-1] != description.features:
        raise ValueError(
            f"{description.name} of width {description.width:g} gives {built.output_shape[-1]} "
            f"features; the card says {description.features}."
        )
    return built


def pretraining(card, file):
    """The untrained method of a card, compiled with its optimizer.

    Args:
        card: `cards.Card` whose training has a configuration.
        file: the `cards.File` that will fill it.

    Raises:
        ValueError: if the configuration makes no model, or one that the file cannot fill.
    """
    config, shape = card.training.config, [card.encoder.image_size] * 2 + [card.encoder.channels]
    where = f"{card.name}: training.config"
    config = Config.from_dict(config, where)
    if None in (config.encoder, config.images, config.batch_size):
        raise ValueError(f"{where} must have encoder, images and batch_size.")
    try:
        _check_sizes(config, file, where)
        config = build.resolve(config, config.images, tuple(shape))
        return build.make_model(config, tuple(shape), steps_per_epoch(config))
    except (TypeError, KeyError, AttributeError, ArithmeticError) as error:
        raise ValueError(f"{where} makes no model: {error!r}.") from None


def steps_per_epoch(config):
    """Steps of an epoch of a configuration, whose last batch is dropped if it is not whole."""
    return max(1, config.images // config.batch_size)


def _check_sizes(config, file, where):
    """No queue, bank or layer that could not be in a file of that size: it would fill the memory.

    A row of a table has at least a number of four bytes.
    """
    sizes = list(_numbers(config.method_options))
    sizes += [config.images] if signatures.takes(config.method, "num_images") else []
    for size in sizes:
        if not math.isfinite(size) or 4 * size > file.size:
            raise ValueError(
                f"{where} names a size of {size}, which a file of {file.size} bytes has no room "
                "for."
            )


def _numbers(value):
    if isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _numbers(part)
    elif isinstance(value, int | float):
        yield value
