"""Teachers for distillation: trained encoders and the models of keras.applications."""

import importlib
import inspect

import keras

from cl_keras.pretraining import initial
from cl_keras.spelling import did_you_mean

KERAS = "keras:"
"""Prefix of the names of models of keras.applications."""

SIDE = 224
"""Side in pixels of the images on which the models of keras.applications were trained."""


def load(name: str) -> keras.Model:
    """The network that `--teacher` names, from images in 0..255 to vectors.

    Args:
        name: `"keras:NAME"`, a model of keras.applications with ImageNet weights, such as
            `"keras:EfficientNetB0"`; or a name for `initial.load`.

    Raises:
        ValueError: for an unknown model of keras.applications.
        OSError: if the weights cannot be read.
    """
    if not name.startswith(KERAS):
        return initial.load(name, "teacher")
    return application(name.removeprefix(KERAS))


def application(name: str, weights: str | None = "imagenet") -> keras.Model:
    """A model of keras.applications without its classifier, including its preprocessing.

    Args:
        name: name of the function that makes it, such as `"ResNet50V2"`.
        weights: `"imagenet"` (default), or None for random weights.
    """
    models = _models()
    if name not in models:
        raise ValueError(
            f"keras.applications has no model {name!r}.{did_you_mean(name, models)} It has "
            f"{', '.join(models)}."
        )
    options = {"include_top": False, "pooling": "avg", "input_shape": (SIDE, SIDE, 3)}
    try:
        backbone = models[name](weights=weights, **options)
    except Exception as error:  # Keras downloads them, and raises a plain Exception
        raise OSError(f"The weights of keras:{name} cannot be read: {error}") from error
    module = importlib.import_module(models[name].__module__)
    images = keras.Input([SIDE, SIDE, 3], name="images")
    outputs = backbone(module.preprocess_input(images))
    return keras.Model(images, outputs, name=name.lower())


def _models():
    """{name: function} of all models of keras.applications."""
    return {
        name: function
        for name, function in vars(keras.applications).items()
        if inspect.isfunction(function) and "include_top" in inspect.signature(function).parameters
    }
