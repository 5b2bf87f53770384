"""Flags and loading that all commands on a trained encoder share."""

import pathlib

import keras
from absl import flags as absl_flags

from cl_keras import encoders, zoo
from cl_keras.runs import Run
from cl_keras.training import PretextModel


def define_flags(flags):
    """Declares --run, --encoder and --zoo, of which one is needed."""
    absl_flags.DEFINE_string("run", None, "Folder of a finished run.", flag_values=flags)
    absl_flags.DEFINE_string(
        "encoder",
        None,
        "Instead of --run: a .keras file of an encoder or model.",
        flag_values=flags,
    )
    absl_flags.DEFINE_string(
        "zoo", None, "Instead of --run: name of an entry; see `cl-keras zoo`.", flag_values=flags
    )


def load_encoder(flags):
    """The encoder that the flags name.

    Raises:
        ValueError: if they name none, or several.
        FileNotFoundError: if it is not there.
    """
    if [flags.run, flags.encoder, flags.zoo].count(None) != 2:
        raise ValueError("Give one of --run=FOLDER, --encoder=FILE.keras and --zoo=NAME.")
    if flags.zoo is not None:
        return zoo.load(flags.zoo)
    if flags.run is not None:
        return Run(flags.run).load_encoder()
    path = pathlib.Path(flags.encoder)
    if not path.is_file() or path.suffix != ".keras":
        raise FileNotFoundError(f"--encoder must be a .keras file that exists; received {path}.")
    model = keras.models.load_model(path, compile=False)
    return model.encoder if isinstance(model, PretextModel) else encoders.as_encoder(model)


def image_options(encoder):
    """`image_size` and `channels` for `data.load`, as the encoder wants them."""
    return {"image_size": encoders.image_size(encoder), "channels": encoder.input_shape[-1]}
