"""Builds data, views, encoder, optimizer and model from a configuration."""

from collections.abc import Callable
from typing import Any

import keras

from cl_keras import data, encoders, methods
from cl_keras.recipes import config as config_module
from cl_keras.recipes import signatures
from cl_keras.recipes.config import Config
from cl_keras.training import PretextModel, precision
from cl_keras.training.recipe import make_optimizer

METHODS = {name: getattr(methods, cls) for name, cls in signatures.methods().items()}
ENCODERS = {name: getattr(encoders, name) for name in config_module.ENCODERS}

MERGED = ("method_options", "views")
"""Options that are merged with those of the recipe, instead of replacing them."""


def load_data(spec: Any, config: Config, **options: Any) -> data.Source:
    """Loads the images of `spec` in the size and number of channels of a configuration."""
    return data.load(
        spec,
        image_size=config.image_size,
        channels=config.channels,
        max_bad_share=config.max_bad_share,
        **options,
    )


def resolve(config: Config, images: int, image_shape: tuple[int, ...]) -> Config:
    """Fills in everything that a configuration leaves open, from the recipe of its preset.

    Resolving again changes nothing.

    Args:
        config: a `Config`.
        images: number of images.
        image_shape: (height, width, channels) of an image.

    Raises:
        ValueError: for an unknown preset of the method, or a value out of range.
    """
    config = config.replace(
        method=config.method or config.default_method,
        preset=config.preset or "published",
        precision=precision.resolve(config.precision or "float32"),
    )
    recipe = METHODS[_filled(config, "method")].scaled_recipe(
        images=images,
        image_size=image_shape[0],
        batch_size=config.batch_size,
        epochs=config.epochs,
        preset=config.preset,
    )
    found: dict[str, Any] = {"images": images}
    for name, value in vars(recipe).items():
        if name in MERGED:
            found[name] = {**value, **getattr(config, name)}
        elif getattr(config, name) is None:
            found[name] = value
    for name in ("head", "temperature"):  # options of the method that have their own flags
        value = found["method_options"].pop(name, None)
        if getattr(config, name) is None:
            found[name] = value
    return config.replace(**found)


def make_encoder(config: Config, image_shape: tuple[int, ...]) -> keras.Model:
    """The untrained encoder of a resolved configuration, with weights determined by its seed."""
    keras.utils.set_random_seed(config.seed)
    return ENCODERS[_filled(config, "encoder")](
        image_size=image_shape[0],
        channels=image_shape[2],
        zero_init_residual=bool(config.zero_init_residual),
        norm=METHODS[_filled(config, "method")].encoder_norm,
    )


def make_views(config: Config, image_shape: tuple[int, ...]) -> Callable:
    """The method's own views for the images, with the changes of the configuration."""
    method = METHODS[_filled(config, "method")]
    return method.default_views(image_shape[0], channels=image_shape[2], **config.views)


def make_model(
    config: Config,
    image_shape: tuple[int, ...],
    steps_per_epoch: int,
    teacher: keras.Model | None = None,
) -> PretextModel:
    """The compiled model of a resolved configuration.

    Args:
        config: a resolved `Config`.
        image_shape: (height, width, channels) of an image.
        steps_per_epoch: steps of an epoch.
        teacher: the network that `config.teacher` names, for a method that takes one.

    Raises:
        ValueError: for an option out of range, or a missing teacher.
    """
    method = METHODS[_filled(config, "method")]
    options = dict(config.method_options)
    for name in ("head", "temperature"):
        if getattr(config, name) is not None:
            options[name] = getattr(config, name)
    # Methods with a memory keep a row for each image.
    if signatures.takes(_filled(config, "method"), "num_images"):
        options.setdefault("num_images", config.images)
    if signatures.takes(_filled(config, "method"), "other_encoder"):  # the same, other weights
        options["other_encoder"] = make_encoder(config.replace(seed=config.seed + 1), image_shape)
        options["other_views"] = make_views(config, image_shape)
    if signatures.takes(_filled(config, "method"), "teacher"):
        if teacher is None:
            raise ValueError(f"{config.method} is made with its teacher, {config.teacher}.")
        options["teacher"] = teacher
    encoder, views = make_encoder(config, image_shape), make_views(config, image_shape)
    model = method(encoder, views=views, seed=config.seed, **options)
    model.compile(make_optimizer(config, steps_per_epoch))
    return model


def _filled(config, name):
    """The value of an option that must be resolved."""
    value = getattr(config, name)
    if value is None:
        raise ValueError(f"The configuration leaves {name} open; call `build.resolve` first.")
    return value
