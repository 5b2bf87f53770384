"""Loads the encoder and the images that the flags of a command name."""

import pathlib
from typing import Any

import keras

from cl_keras import encoders, zoo
from cl_keras.cli.commands import TrainedEncoder
from cl_keras.encoders.model_file import load_model
from cl_keras.runs import Run
from cl_keras.training import PretextModel


def load_encoder(flags: TrainedEncoder) -> keras.Model:
    """The encoder that the flags name.

    Raises:
        ValueError: if they name none, or several.
        FileNotFoundError: if it does not exist.
    """
    named = [name for name in (flags.run, flags.encoder, flags.zoo) if name is not None]
    if len(named) != 1:
        raise ValueError("Give one of --run=FOLDER, --encoder=FILE.keras or --zoo=NAME.")
    if flags.zoo is not None:
        return zoo.load(flags.zoo)
    if flags.run is not None:
        return Run(flags.run).load_encoder()
    path = pathlib.Path(named[0])
    if not path.is_file() or path.suffix != ".keras":
        raise FileNotFoundError(f"--encoder must be an existing .keras file; received {path}.")
    model = load_model(path)
    return model.encoder if isinstance(model, PretextModel) else encoders.as_encoder(model)


def image_options(encoder: keras.Model) -> dict[str, Any]:
    """`image_size` and `channels` for `data.load`, as the encoder takes them."""
    return {"image_size": encoders.image_size(encoder), "channels": encoder.input_shape[-1]}


def data_spec(flags: Any) -> str:
    """The images that --data names, or else those of the run.

    Raises:
        ValueError: if there are none.
    """
    if flags.data is not None:
        return flags.data
    if flags.run is not None:
        return Run(flags.run).config["data"]
    raise ValueError("Give the images with --data.")
