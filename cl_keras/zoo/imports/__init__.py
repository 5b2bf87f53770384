"""Official checkpoints as encoders of ours.

The weights are read without the library that wrote them and without running anything that stands
in the file; every parameter of the encoder is filled, and every key of the file is used or known.
"""

from cl_keras.zoo.imports import fill
from cl_keras.zoo.imports.simclr import SimCLRFormat
from cl_keras.zoo.imports.torch_formats import TORCH_FORMATS

_FORMATS = TORCH_FORMATS | {SimCLRFormat.name: SimCLRFormat()}

FORMATS = {name: format_.description for name, format_ in _FORMATS.items()}
"""Name of a format to a sentence about what has it."""

__all__ = ["FORMATS", "encoder_from", "network"]


def encoder_from(path, format, *, image_size=224):
    """The encoder in an official checkpoint.

    Args:
        path: of the file. SimCLR's are two files; see `simclr.SimCLRFormat.read`.
        format: a name in `FORMATS`.
        image_size: side in pixels that it is meant for; any other is accepted.

    Returns:
        A trainable `keras.Model` from images `[B, H, W, 3]`, uint8 or float in 0..255, to features
        `[B, D]`, named `resnet18`, `resnet34` or `resnet50` as the file is.

    Raises:
        ValueError: for an unknown format, or a file that is not a whole checkpoint of it.
        OSError: if the file cannot be read.
    """
    name, width, arrays = _format(format).read(path)
    encoder = network(format, name, width=width, image_size=image_size)
    fill.fill(encoder, arrays)
    return encoder


def network(format, encoder, *, width=1.0, image_size=224):
    """The network that a format's checkpoints are read into, with fresh weights.

    Args:
        format: a name in `FORMATS`.
        encoder: `"resnet18"`, `"resnet34"` or `"resnet50"`.
        width: multiplier of all widths.
        image_size: side in pixels that it is meant for.

    Raises:
        ValueError: for an unknown format, or an encoder that it does not have.
    """
    return _format(format).network(encoder, width=width, image_size=image_size)


def _format(name):
    if name not in _FORMATS:
        raise ValueError(f"format must be one of {', '.join(_FORMATS)}; received {name!r}.")
    return _FORMATS[name]
