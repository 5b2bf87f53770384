"""Finds the images most similar to a given one."""

import hashlib
import io
import pathlib
from typing import Any

import numpy as np

from cl_keras import data
from cl_keras.cli import trained
from cl_keras.cli.commands import Search
from cl_keras.data.image_files import BadImage, explain
from cl_keras.data.pixels import decode
from cl_keras.data.printable import printable
from cl_keras.data.reading import read_image_file
from cl_keras.downstream import Index
from cl_keras.evaluation import features


def main(flags: Search) -> None:
    """Prints the nearest images, from an index that is built if necessary."""
    encoder = trained.load_encoder(flags)
    options = trained.image_options(encoder)
    query = read_query(flags.query, options)
    index = _index(flags, encoder, options)
    vector = features(encoder, query[None], progress=False).vectors
    for name, cosine in index.search(vector, flags.k, engine=flags.engine)[0]:
        print(f"{cosine:.4f}  {printable(name)}")


def read_query(path: str, options: dict[str, Any]) -> np.ndarray:
    """The pixels of one image file, uint8 `[h, w, c]`."""
    try:
        return decode(io.BytesIO(read_image_file(path)), **options)
    except MemoryError:
        raise
    except BadImage as error:
        raise ValueError(f"The query {path} cannot be used: {error}.") from None
    except Exception as error:  # Pillow raises many kinds
        raise ValueError(f"The query {path} cannot be used: {explain(error)}.") from None


def _index(flags, encoder, options):
    path = flags.index
    if flags.run is not None:
        path = path or pathlib.Path(flags.run) / "index.npz"
    source = data.load(trained.data_spec(flags), labels=None, **options)
    key = _key(encoder, source)
    if path is not None and pathlib.Path(path).is_file():
        found = Index.load(path)
        if found.key == key:
            return found
        print(f"{path} is for other images or another encoder; rebuilding it.")
    index = Index.build(encoder, source, key=key)
    if path is not None:
        index.save(path)
    return index


def _key(encoder, source):
    """A hash of everything that an index depends on: the encoder's weights, and the images."""
    digest = hashlib.sha256()
    for variable in encoder.variables:
        digest.update(variable.numpy().tobytes())
    for image in source.identity().images:
        digest.update(repr(image).encode("utf-8", "surrogateescape"))
    return digest.hexdigest()
