"""Imports official checkpoints of other projects.

The weights are read without the library that wrote them and without running anything in the file.
Every parameter of the encoder is set, and every key in the file is either used or known.
"""

import contextlib
import pathlib
from collections.abc import Sequence

import keras

from cl_keras.bounds import check_image_size
from cl_keras.spelling import did_you_mean
from cl_keras.zoo import cards
from cl_keras.zoo.download.cache import Verified
from cl_keras.zoo.imports import conversions
from cl_keras.zoo.imports.simclr import SimCLRFormat
from cl_keras.zoo.imports.torch_formats import TORCH_FORMATS
from cl_keras.zoo.weights import variables

_FORMATS = TORCH_FORMATS | {SimCLRFormat.name: SimCLRFormat()}

FORMATS = {name: reader.description for name, reader in _FORMATS.items()}
"""Maps the name of each format to a description."""


__all__ = ["FORMATS", "encoder_of", "import_checkpoint"]


def import_checkpoint(
    path: str | pathlib.Path, format: str, *, image_size: int = 224
) -> keras.Model:
    """Imports the encoder from a checkpoint of another project.

    Args:
        path: path of the file. SimCLR's checkpoints have two; see `simclr.SimCLRFormat.open`.
        format: a name in `zoo.imports.FORMATS`, such as "torchvision".
        image_size: side in pixels of the images it is for; others are accepted; default: 224.

    Returns:
        A trainable `keras.Model` from images `[b, h, w, 3]`, uint8 or float in 0..255, to features
        `[b, d]`, named `resnet18`, `resnet34` or `resnet50` after its architecture.

    Raises:
        ValueError: for an unknown format, or a file that is not a complete checkpoint of it.
        OSError: if it cannot be read.
    """
    check_image_size(image_size, at_least=8)
    reader, path = _format(format), pathlib.Path(path)
    with _named(path.name), reader.open(path) as streams:
        name, width, arrays = reader.read(*streams)
        encoder = reader.network(name, width=width, image_size=image_size)
        variables.assign(encoder, arrays)
    return encoder


def encoder_of(card: cards.Card, format: str, files: Sequence[Verified], what: str) -> keras.Model:
    """The encoder that a card describes, from its checkpoint, or the conversion in the cache."""
    description, reader = card.encoder, _format(format)
    streams, hashes = zip(*files, strict=True)
    source = conversions.source_of(description, format, hashes)

    def make(name=description.name, width=description.width):
        return reader.network(name, width=width, image_size=description.image_size)

    if (kept := conversions.restored(card.name, source, make)) is not None:
        return kept
    with _named(what):
        name, width, arrays = reader.read(*streams)
        encoder = make(name, width)
        received = name, width, encoder.output_shape[-1]
        if received != (description.name, description.width, description.features):
            raise ValueError(
                f"The card describes {description.name} of width {description.width:g} with "
                f"{description.features} features; the checkpoint is of {encoder.name} of width "
                f"{width:g} with {encoder.output_shape[-1]}."
            )
        variables.assign(encoder, arrays)
    conversions.keep(card.name, source, arrays)
    return encoder


def _format(name):
    if name not in _FORMATS:
        raise ValueError(
            f"Unknown format {name!r}.{did_you_mean(str(name), _FORMATS, 3)} "
            f"The formats are {', '.join(_FORMATS)}."
        )
    return _FORMATS[name]


@contextlib.contextmanager
def _named(what):
    """Adds the name of a file to errors about it."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{what}: {error}") from error
