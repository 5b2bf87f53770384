"""Trained encoders to begin from or to learn from: of the zoo, of a run, or of a file."""

import pathlib

import keras

from cl_keras import encoders, zoo
from cl_keras.encoders.model_file import load_model
from cl_keras.recipes.config import ENCODERS, Config
from cl_keras.runs import Run
from cl_keras.training import PretextModel

FEW_IMAGES = 5000
"""Up to here a run of the small preset begins with weights of the zoo."""

STARTS = {1: "simclr_small_resnet_fashion_mnist", 3: "simclr_small_resnet_emoji"}
"""Entries to begin with, by the number of channels."""

FREE_LICENSES = ("Apache-2.0", "MIT", "BSD-3-Clause", "CC0-1.0", "CC-BY-4.0")
NONE = "none"
"""What `--init` says for random weights."""


def suggest(config: Config, images: int) -> str:
    """What to begin with where the user does not say: an entry of the zoo, or `"none"`.

    It is an entry where the images are few, its encoder is the one that the small preset has, and
    its license lets everybody use it; but not where it cannot be read, as without a network.

    Args:
        config: with its choices made.
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
        print(f"Beginning with random weights, since {name} of the zoo cannot be read: {error}")
        return NONE
    return name if usable else NONE


def load(name: str, flag: str = "init") -> keras.Model:
    """The encoder that `--init` or `--teacher` names.

    Args:
        name: a .keras file, the folder of a finished run, or the name of an entry of the zoo.
        flag: the option that it was given in, for errors.

    Raises:
        FileNotFoundError: if it is none of them.
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
            f"entry of the zoo; {name} is none of them."
        )
    return zoo.load(name)


def with_its_encoder(config: Config, loaded: keras.Model) -> Config:
    """The configuration with the encoder, and the channels, that the weights are of.

    Raises:
        ValueError: if the weights are of another encoder or kind of image than is asked for.
    """
    name = loaded.name
    if name not in ENCODERS:
        raise ValueError(
            f"The weights of {config.init} are of an encoder {name!r}, which cannot be built here; "
            f"--init takes those of {', '.join(ENCODERS)}."
        )
    if config.encoder not in (None, name):
        raise ValueError(
            f"The weights of {config.init} are of {name}, not of {config.encoder}. Leave --encoder "
            "out, or name the same."
        )
    channels = loaded.input_shape[-1]
    if config.channels not in (None, channels):
        raise ValueError(
            f"The weights of {config.init} are for images of {channels} channels; the images have "
            f"{config.channels}. Give --channels={channels}, or other weights."
        )
    return config.replace(encoder=name, channels=channels)


def fill(encoder: keras.Model, loaded: keras.Model, init: str) -> None:
    """Gives an encoder the weights of another one that is built alike.

    Raises:
        ValueError: if they differ in their variables.
    """
    shapes = [tuple(variable.shape) for variable in encoder.variables]
    given = [tuple(variable.shape) for variable in loaded.variables]
    if shapes != given:
        raise ValueError(
            f"The weights of {init} do not fit the encoder {encoder.name} for images of this size: "
            f"they hold {len(given)} variables, the encoder has {len(shapes)}, or their shapes "
            "differ. A ResNet for images up to 64 pixels has another stem than one for larger ones."
        )
    for variable, source in zip(encoder.variables, loaded.variables, strict=True):
        variable.assign(source)
