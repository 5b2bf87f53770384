"""Loads the encoder and the images that the flags of a command name."""

import pathlib

from cl_keras import encoders, zoo
from cl_keras.encoders.model_file import load_model
from cl_keras.runs import Run
from cl_keras.training import PretextModel


def load_encoder(flags):
    """The encoder that the flags name.

    Raises:
        ValueError: if they name none, or several.
        FileNotFoundError: if it does not exist.
    """
    if [flags.run, flags.encoder, flags.zoo].count(None) != 2:
        raise ValueError("Give one of --run=FOLDER, --encoder=FILE.keras or --zoo=NAME.")
    if flags.zoo is not None:
        return zoo.load(flags.zoo)
    if flags.run is not None:
        return Run(flags.run).load_encoder()
    path = pathlib.Path(flags.encoder)
    if not path.is_file() or path.suffix != ".keras":
        raise FileNotFoundError(f"--encoder must be an existing .keras file; received {path}.")
    model = load_model(path)
    return model.encoder if isinstance(model, PretextModel) else encoders.as_encoder(model)


def image_options(encoder):
    """`image_size` and `channels` for `data.load`, as the encoder takes them."""
    return {"image_size": encoders.image_size(encoder), "channels": encoder.input_shape[-1]}


def run_of(flags):
    """The `Run` that --run names."""
    return Run(flags.run)


def data_spec(flags):
    """The images that --data names, or else those of the run.

    Raises:
        ValueError: if there are none.
    """
    if flags.data is not None:
        return flags.data
    if flags.run is not None:
        return run_of(flags).config["data"]
    raise ValueError("Give the images with --data.")
