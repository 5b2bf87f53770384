"""What the catalogues offer, and their files on this machine."""

import contextlib
import pathlib

from cl_keras.zoo import catalogue
from cl_keras.zoo.cards import names
from cl_keras.zoo.download import cache


def list(*, method=None, encoder=None, data=None):
    """Names of all entries, or of those of one method, encoder and data.

    Args:
        method: such as "moco_v2".
        encoder: such as "resnet50".
        data: such as "imagenet".

    Returns:
        A sorted list of names for `card`, `load` and `download`.

    Raises:
        ValueError: if no entry has such a method, encoder or data.
    """
    cards = {entry.card.name: entry.card for entry in catalogue.entries()}
    wanted = {"method": method, "encoder": encoder, "data": data}
    for field, value in wanted.items():
        known = {_field(card, field) for card in cards.values()}
        if value is not None and value not in known:
            raise ValueError(
                f"The zoo has nothing of the {field} {value!r}.{names.near(str(value), known)} "
                f"It has: {', '.join(sorted(known)) or 'nothing'}."
            )
        if value is not None:
            cards = {n: card for n, card in cards.items() if _field(card, field) == value}
    return sorted(cards)


def card(name):
    """The `Card` of an entry; nothing is downloaded but catalogues.

    Raises:
        ValueError: if there is no such entry; near names are in the message.
    """
    return catalogue.find(name).card


def download(name, *, kind="encoder", progress=True):
    """Brings a file of an entry onto this machine, checks its SHA-256, and leaves it at that.

    Args:
        name: of the entry.
        kind: "encoder", or "pretraining" where there is one.
        progress: show a progress bar.

    Returns:
        The `pathlib.Path` of the file, in the cache, or beside a catalogue on this machine.

    Raises:
        ValueError: if there is no such entry or kind of file, or the file is not the card's.
        OSError: if it cannot be had.
    """
    entry = catalogue.find(name)
    return local_path_of(entry, entry.card.file(kind), progress=progress)


def local_path_of(entry, file, *, progress=True):
    """The path of a file of an entry, whose hash was checked just now."""
    place = entry.locate(file)
    if isinstance(place, pathlib.Path):
        with cache.open_verified(place, cache.ExpectedFile.of(file)):
            return place
    return cache.fetch(entry.card.name, file, place, progress=progress)


@contextlib.contextmanager
def open_verified(entry, file, *, progress=True):
    """A file of an entry, open, whose hash was checked through this very descriptor."""
    place = entry.locate(file)
    if not isinstance(place, pathlib.Path):
        place = cache.fetch(entry.card.name, file, place, progress=progress)
    with cache.open_verified(place, cache.ExpectedFile.of(file)) as stream:
        yield stream


def _field(card, field):
    return card.encoder.name if field == "encoder" else getattr(card, field)
