"""The zoo as users call it: list, card, download, load."""

import contextlib
import pathlib
import typing
from collections.abc import Iterator
from typing import BinaryIO

import keras

from cl_keras.spelling import did_you_mean
from cl_keras.zoo import cards, catalog, imports
from cl_keras.zoo.download import cache
from cl_keras.zoo.weights import building


def list(
    *, method: str | None = None, encoder: str | None = None, data: str | None = None
) -> typing.List[str]:  # noqa: UP006  `list` is this function here
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
    found = {entry.card.name: entry.card for entry in catalog.entries()}
    wanted = {"method": method, "encoder": encoder, "data": data}
    for field, value in wanted.items():
        known = {_field(card, field) for card in found.values()}
        if value is not None and value not in known:
            raise ValueError(
                f"The zoo has nothing of the {field} {value!r}."
                f"{did_you_mean(str(value), known, 3)} "
                f"It has: {', '.join(sorted(known)) or 'nothing'}."
            )
        if value is not None:
            found = {n: card for n, card in found.items() if _field(card, field) == value}
    return sorted(found)


def card(name: str) -> cards.Card:
    """The `Card` of an entry; nothing is downloaded but catalogs.

    Raises:
        ValueError: if there is no such entry; near names are in the message.
    """
    return catalog.find(name).card


def download(name: str, *, kind: str = "encoder", progress: bool = True) -> pathlib.Path:
    """Brings a file of an entry onto this machine, checks its hash, and leaves it at that.

    Where its authors publish no hash, the first download is trusted and pinned, and a later change
    is refused.

    Args:
        name: of the entry.
        kind: "encoder", or "pretraining" where there is one.
        progress: show a progress bar.

    Returns:
        The path of the file, in the cache, or beside a catalog on this machine.

    Raises:
        ValueError: if there is no such entry or kind of file, or the file is not the card's.
        OSError: if it cannot be downloaded or read.
    """
    entry = catalog.find(name)
    with open_verified(entry, entry.card.file(kind), progress=progress) as stream:
        return pathlib.Path(stream.name)


def load(name: str, *, kind: str = "encoder", progress: bool = True) -> keras.Model:
    """A published model: fetched if need be, checked, built and filled, in one pass.

        encoder = cl_keras.zoo.load("simclr_small_resnet_fashion_mnist_mini")
        classifier = keras.Sequential([encoder, keras.layers.Dense(10)])

    A checkpoint of another project is converted at every call: it takes a tenth of the time in
    which the network is built, and so nothing derived from a file has to be trusted.

    Args:
        name: of the entry; `zoo.list()` has them all.
        kind: "encoder", or "pretraining" for the whole method with head, queue or bank, where the
            entry has it.
        progress: show a progress bar of the download.

    Returns:
        For "encoder" a trainable `keras.Model` from images in 0..255 (its preprocessing is inside)
        to `[b, d]`, ready for `fit` and `export.saved_model`. For "pretraining" the compiled
        method, ready to be trained on; the optimizer begins anew.

    Raises:
        ValueError: if there is no such entry or kind of file, or its files are not the card's.
        OSError: if a file cannot be downloaded or read.
    """
    entry = catalog.find(name)
    file, what = entry.card.file(kind), f"{entry.card.name}: {kind}"
    with contextlib.ExitStack() as stack:
        stream = stack.enter_context(open_verified(entry, file, progress=progress))
        if file.format == cards.OWN_FORMAT:
            return building.filled(lambda: _build(entry.card, file), stream, what)
        streams = [stream]
        if entry.card.has(cards.DATA):
            more = open_verified(entry, entry.card.file(cards.DATA), progress=progress)
            streams.append(stack.enter_context(more))
        return imports.encoder_of(entry.card.encoder, file.format, streams, what)


@contextlib.contextmanager
def open_verified(
    entry: catalog.Entry, file: cards.File, *, progress: bool = True
) -> Iterator[BinaryIO]:
    """A file of an entry, open, whose hash was checked through this very descriptor."""
    place = entry.locate(file)
    if isinstance(place, pathlib.Path):
        opened = cache.open_verified(place, cache.ExpectedFile.of(file))
    else:
        options = {"progress": progress, "referrer": entry.referrer}
        opened = cache.open_fetched(entry.card.name, file, place, **options)
    with opened as stream:
        yield stream


def _build(card, file):
    if file.kind == "encoder":
        return building.encoder(card.encoder)
    return building.pretraining(card)


def _field(card, field):
    return card.encoder.name if field == "encoder" else getattr(card, field)
