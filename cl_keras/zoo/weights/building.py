"""Networks from the words of a card, and their weights from its files."""

import math

import tensorflow as tf

from cl_keras.recipes import build
from cl_keras.recipes.config import Config
from cl_keras.spelling import did_you_mean
from cl_keras.zoo.weights import tensors, variables

MAX_VARIABLES = 10_000
"""Of a model; MoCo of a ResNet-50 has some 700."""


def filled(make, stream, what):
    """A model with the weights of a file, which must have all of its variables and no others.

    The model is first made in a graph of its own, where variables have shapes but no memory, and
    given up as soon as it needs more of them than the file can hold. So no card can ask for a
    network that its file does not fill, in width or in number of layers.

    Args:
        make: function that makes the model.
        stream: the open file, a binary one.
        what: the name of the file, for errors.

    Raises:
        ValueError: if the file is not of this model, or is damaged.
    """
    size = stream.seek(0, 2)
    with tf.Graph().as_default(), tf.variable_creator_scope(_bounded(size, what)):
        expected = variables.forms(make())
    arrays = tensors.read(stream, expected, what)
    model = make()
    variables.assign(model, arrays)
    return model


def _bounded(size, what):
    """A creator of variables for a model whose weights are a file of `size` bytes.

    Optimizer and metrics, which are not in the file, have a few times as many.
    """
    left, count = 8 * size + 2**20, MAX_VARIABLES

    def create(make, **options):
        nonlocal left, count
        variable = make(**options)
        left -= math.prod(variable.shape) * variable.dtype.size
        count -= 1
        if left < 0 or count < 0:
            raise ValueError(f"The card of {what} asks for more than its {size} bytes can fill.")
        return variable

    return create


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
            f"{did_you_mean(description.name, builders, 3)} It has {', '.join(builders)}."
        )
    builder = builders[description.name]
    options = {"image_size": description.image_size, "channels": description.channels}
    options |= {"width": description.width, "norm": description.norm}
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


def pretraining(card):
    """The untrained method of a card, compiled with its optimizer.

    Args:
        card: `cards.Card` whose training has a configuration.

    Raises:
        ValueError: if the configuration makes no model.
    """
    config, shape = card.training.config, [card.encoder.image_size] * 2 + [card.encoder.channels]
    where = f"{card.name}: training.config"
    config = Config.from_dict(config, where)
    if None in (config.encoder, config.images, config.batch_size):
        raise ValueError(f"{where} must have encoder, images and batch_size.")
    try:
        config = build.resolve(config, config.images, tuple(shape))
        return build.make_model(config, tuple(shape), steps_per_epoch(config))
    except (TypeError, KeyError, AttributeError, ArithmeticError) as error:
        raise ValueError(f"{where} makes no model: {error!r}.") from None


def steps_per_epoch(config):
    """Steps of an epoch of a configuration, whose last batch is dropped if it is not whole."""
    return max(1, config.images // config.batch_size)
