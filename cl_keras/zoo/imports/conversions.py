"""Converted checkpoints, kept in the cache, so that a checkpoint is converted only once.

Each is a .safetensors file named after what it was made from, which its header names in full, with
a checksum of its numbers. One that is damaged, or of another version, is made again.
"""

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence

import google_crc32c
import keras
import numpy as np
import safetensors
from absl import logging

from cl_keras.files import open_plain
from cl_keras.zoo import cards
from cl_keras.zoo.download import cache
from cl_keras.zoo.weights import tensors, variables

VERSION = 1
"""Increase this whenever a reader changes what it makes of a checkpoint."""


def source_of(encoder: cards.Encoder, format: str, hashes: Sequence[str]) -> str:
    """A hash of what a conversion depends on: files, by their SHA-256, reader, and encoder."""
    made_from = [VERSION, format, encoder.name, encoder.width, encoder.features, *hashes]
    return hashlib.sha256(json.dumps(made_from).encode()).hexdigest()


def restored(name: str, source: str, make: Callable[[], keras.Model]) -> keras.Model | None:
    """The encoder of an entry from its conversion, or None if there is none that is intact.

    Args:
        name: name of the entry.
        source: the `source_of` the conversion.
        make: builds the encoder with fresh weights.
    """
    path = _path(name, source)
    try:
        open_plain(path, follow_links=False).close()  # it is a file, neither a link nor a pipe
        with safetensors.safe_open(path, "numpy") as file:
            header = file.metadata() or {}
            if header.get("source") != source:
                raise ValueError(f"{path} was made from another file.")
            encoder = make()
            forms = variables.forms(encoder).items()
            expected = {key: (shape, "float32") for key, (shape, _) in forms}
            found = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        arrays = tensors.checked(found, expected, str(path))
        if header.get("crc32c") != _checksum(arrays):
            raise ValueError(f"The checksum of {path} differs.")
    except FileNotFoundError:
        return None
    except (OSError, ValueError, safetensors.SafetensorError) as error:
        logging.warning("The checkpoint is converted again: %s", error)
        return None
    variables.assign(encoder, arrays)
    return encoder


def keep(name: str, source: str, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes a conversion, whole or not at all; without it, the next call converts again."""
    path = _path(name, source)
    partial = path.with_name("partial")
    cache.refuse_link(partial)
    try:
        with cache.locked(path.parent):
            try:
                tensors.write(partial, arrays, {"source": source, "crc32c": _checksum(arrays)})
                os.replace(partial, path)
            finally:
                partial.unlink(missing_ok=True)
    except (OSError, safetensors.SafetensorError) as error:  # a read-only cache, or a full disk
        logging.info("The conversion is not kept: %s", error)


def _path(name, source):
    return cache.entry_folder(name) / f"converted-{source[:16]}.safetensors"


def _checksum(arrays):
    checksum = 0
    for name in sorted(arrays):
        checksum = google_crc32c.extend(checksum, np.asarray(arrays[name], order="C"))
    return f"{checksum:08x}"
