"""Official checkpoints as encoders: converted once, and kept."""

import dataclasses
import pathlib

from cl_keras.files import replacing, sha256, write_atomically
from cl_keras.version import __version__
from cl_keras.zoo import client, imports
from cl_keras.zoo.cards import names, schema
from cl_keras.zoo.download import cache
from cl_keras.zoo.weights import npz, variables

WEIGHTS, NOTE = "converted.npz", "converted.json"
"""Files beside a checkpoint in the cache."""


def import_checkpoint(path, format, *, image_size=224):
    """The encoder in a checkpoint of another project.

    Args:
        path: of the file.
        format: one of `zoo.imports.FORMATS`, such as "torchvision".
        image_size: side in pixels of the images that it is meant for.

    Returns:
        A trainable `keras.Model` from images in 0..255 to `[B, D]`.

    Raises:
        ValueError: for an unknown format, and for a file that is not of it, is damaged, or holds
            more than arrays and plain values.
        OSError: if it cannot be read.
    """
    if format not in imports.FORMATS:
        raise ValueError(
            f"There is no format {format!r}.{names.near(str(format), imports.FORMATS)} "
            f"There are: {', '.join(imports.FORMATS)}."
        )
    return imports.encoder_from(pathlib.Path(path), format, image_size=image_size)


def load(entry, file, *, progress=True):
    """The encoder of an entry whose file is of another project's format.

    Args:
        entry: `catalogue.Entry`.
        file: its `cards.File`.
        progress: show a progress bar of the download.

    Raises:
        ValueError: as `import_checkpoint`, and if it is not the encoder of the card.
        OSError: if the file cannot be had.
    """
    place = entry.locate(file)
    address = place.as_uri() if isinstance(place, pathlib.Path) else place
    folder = cache.folder_of(entry.card.name, file, address)
    source = cache.ExpectedFile.of(file, folder / "pin.json").sha256
    if source is not None and (kept := _kept(folder, source)):
        return _load_kept(folder, kept, entry.card, file)
    path = client.local_path_of(entry, file, progress=progress)
    encoder = import_checkpoint(path, file.format, image_size=entry.card.encoder.image_size)
    wanted, received = variables.forms(_network(entry.card, file)), variables.forms(encoder)
    if received != wanted or encoder.output_shape[-1] != entry.card.encoder.features:
        raise ValueError(
            f"The card of {entry.card.name} describes {entry.card.encoder}; the checkpoint {path} "
            f"is of {encoder.name!r} with {encoder.output_shape[-1]} features."
        )
    with cache.locked(folder):
        _keep(encoder, folder, sha256(path))
    return encoder


@dataclasses.dataclass(frozen=True)
class Kept:
    """A converted encoder in the cache: made by which version, of which file, and what it is."""

    version: str
    source_sha256: str
    sha256: str
    size: int


def _keep(encoder, folder, source):
    path = folder / WEIGHTS
    with replacing(path) as temporary:
        npz.write(temporary, variables.values(encoder))
    kept = Kept(__version__, source, sha256(path), path.stat().st_size)
    write_atomically(folder / NOTE, schema.as_json(kept))


def _kept(folder, source):
    """The note of the encoder that this version made of the file with that hash, or None."""
    note = folder / NOTE
    if not note.is_file() or note.is_symlink():
        return None
    kept = schema.read(Kept, schema.parse_json(note.read_bytes(), str(note)), str(note))
    whole = (kept.version, kept.source_sha256) == (__version__, source) and not cache.ExpectedFile(
        kept.size, kept.sha256, None
    ).mismatch_at(folder / WEIGHTS)
    return kept if whole else None


def _load_kept(folder, kept, card, file):
    encoder = _network(card, file)
    with cache.open_verified(
        folder / WEIGHTS, cache.ExpectedFile(kept.size, kept.sha256, None)
    ) as stream:
        variables.fill(encoder, stream, str(folder / WEIGHTS))
    return encoder


def _network(card, file):
    encoder = card.encoder
    return imports.network(
        file.format, encoder.name, width=encoder.width, image_size=encoder.image_size
    )
