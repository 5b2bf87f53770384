"""Trained encoders to start or learn from, of the zoo, of a run, or in a file."""

import pathlib

import keras

from cl_keras import encoders, zoo
from cl_keras.encoders.model_file import load_model
from cl_keras.recipes.config import ENCODERS, Config
from cl_keras.runs import Run
from cl_keras.training import PretextModel

FEW_IMAGES = 5000
"""With fewer images, runs of the small preset start from weights of the zoo."""

STARTS = {1: "simclr_small_resnet_fashion_mnist", 3: "simclr_small_resnet_emoji"}
"""Entries to start from, by number of channels."""

FREE_LICENSES = ("Apache-2.0", "MIT", "BSD-3-Clause", "CC0-1.0", "CC-BY-4.0")
NONE = "none"
"""Value of `--init` for random weights."""


def suggest(config: Config, images: int) -> str:
    """The default of `--init`: an entry of the zoo, or `"none"`.

    It is an entry if there are few images, the encoder is that of the small preset, and the license
    is free; but not if the entry cannot be read, e.g. without a network.

    Args:
        config: configuration after `choices.choose`.
        images: number of images.
    """
    name = STARTS.get(config.channels or 0)
    fits = config.preset == "small" and config.encoder in (None, "small_resnet")
    if images >= FEW_IMAGES or not fits or name is None:
        return NONE
    try:
        usable = zoo.card(name).license.name in FREE_LICENSES
        if usable:
            zoo.download(name)
    except (OSError, ValueError) as error:
        print(f"Starting from random weights, since {name} of the zoo cannot be read: {error}")
        return NONE
    return name if usable else NONE


def load(name: str, flag: str = "init") -> keras.Model:
    """The encoder that `--init` or `--teacher` names.

    Args:
        name: a .keras file, the folder of a finished run, or the name of an entry of the zoo.
        flag: name of the option, for error messages; default: `"init"`.

    Raises:
        FileNotFoundError: if it is anything else.
    """
    path = pathlib.Path(name)
    if path.suffix == ".keras" and path.is_file():
        model = load_model(path)
        return model.encoder if isinstance(model, PretextModel) else encoders.as_encoder(model)
    if (path / "config.json").is_file():
        return Run(path).load_encoder()
    if path.exists() or path.suffix == ".keras" or len(path.parts) > 1:
        raise FileNotFoundError(
            f"--{flag} must be a .keras file, the folder of a finished run, or the name of an "
            f"entry of the zoo; received {name}."
        )
    return zoo.load(name)


def with_its_encoder(config: Config, loaded: keras.Model) -> Config:
    """The configuration with the encoder and channels of the weights.

    Raises:
        ValueError: if the weights do not fit the encoder or channels of the configuration.
    """
    name = loaded.name
    if name not in ENCODERS:
        raise ValueError(
            f"--init must have weights of one of {', '.join(ENCODERS)}; those of {config.init} are "
            f"of {name!r}."
        )
    if config.encoder not in (None, name):
        raise ValueError(
            f"The weights of {config.init} are of {name}, not of {config.encoder}. Omit --encoder, "
            f"or give --encoder={name}."
        )
    channels = loaded.input_shape[-1]
    if config.channels not in (None, channels):
        raise ValueError(
            f"The weights of {config.init} are for images of {channels} channels; the images have "
            f"{config.channels}. Give --channels={channels}, or other weights."
        )
    return config.replace(encoder=name, channels=channels)


def fill(encoder: keras.Model, loaded: keras.Model, init: str) -> None:
    """Copies the weights of an encoder of the same architecture.

    Raises:
        ValueError: if they differ in their variables.
    """
    shapes = [tuple(variable.shape) for variable in encoder.variables]
    given = [tuple(variable.shape) for variable in loaded.variables]
    if shapes != given:
        raise ValueError(
            f"The weights of {init} do not fit the encoder {encoder.name} for images of this size: "
            f"they have {len(given)} variables, the encoder has {len(shapes)}, or their shapes "
            "differ. Note that a ResNet for images of up to 64 pixels has a different stem."
        )
    for variable, source in zip(encoder.variables, loaded.variables, strict=True):
        variable.assign(source)
