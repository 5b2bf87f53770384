"""The functions of the zoo for users: list, card, download, load."""

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
    """Names of all entries, or of those with a given method, encoder or data set.

    Args:
        method: such as "moco_v2"; default: None, any.
        encoder: such as "resnet50"; default: None, any.
        data: such as "imagenet"; default: None, any.

    Returns:
        A sorted list of names for `card`, `load` and `download`.

    Raises:
        ValueError: if no entry has such a method, encoder or data set.
    """
    found = {entry.card.name: entry.card for entry in catalog.entries()}
    wanted = {"method": method, "encoder": encoder, "data": data}
    for field, value in wanted.items():
        known = {_field(card, field) for card in found.values()}
        if value is not None and value not in known:
            raise ValueError(
                f"The zoo has no entry with the {field} {value!r}."
                f"{did_you_mean(str(value), known, 3)} "
                f"It has: {', '.join(sorted(known)) or 'none'}."
            )
        if value is not None:
            found = {n: card for n, card in found.items() if _field(card, field) == value}
    return sorted(found)


def card(name: str) -> cards.Card:
    """The `Card` of an entry; only catalogs are downloaded.

    Raises:
        ValueError: if there is no such entry; the message suggests similar names.
    """
    return catalog.find(name).card


def download(name: str, *, kind: str = "encoder", progress: bool = True) -> pathlib.Path:
    """Downloads a file of an entry, if necessary, and checks its hash.

    If its authors publish no hash, the first download is trusted and pinned, and later changes are
    refused.

    Args:
        name: name of the entry.
        kind: "encoder", or "pretraining" if there is one; default: "encoder".
        progress: show a progress bar; default: True.

    Returns:
        The path of the file, in the cache or next to a catalog on this machine.

    Raises:
        ValueError: if there is no such entry or kind of file, or the file does not match the card.
        OSError: if it cannot be downloaded or read.
    """
    entry = catalog.find(name)
    with open_verified(entry, entry.card.file(kind), progress=progress) as stream:
        return pathlib.Path(stream.name)


def load(name: str, *, kind: str = "encoder", progress: bool = True) -> keras.Model:
    """Loads a pretrained model: downloads it if necessary, checks its hash, and builds it.

        encoder = cl_keras.zoo.load("simclr_small_resnet_fashion_mnist_mini")
        classifier = keras.Sequential([encoder, keras.layers.Dense(10)])

    A checkpoint of another project is converted in every call, which takes a tenth of the time of
    building the network, so that no derived file has to be trusted.

    Args:
        name: name of the entry; `zoo.list()` lists all.
        kind: "encoder", or "pretraining" for the whole method with its head, queue or bank, if the
            entry has it; default: "encoder".
        progress: show a progress bar during the download; default: True.

    Returns:
        For "encoder", a trainable `keras.Model` from images in 0..255 (with its preprocessing
        inside) to `[b, d]`, ready for `fit` and `export.saved_model`. For "pretraining", the
        compiled method, ready for further training with a new optimizer.

    Raises:
        ValueError: if there is no such entry or kind of file, or its files do not match the card.
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
    """Opens a file of an entry; its hash was checked through the same descriptor."""
    location = entry.locate(file)
    if isinstance(location, pathlib.Path):
        opened = cache.open_verified(location, file)
    else:
        options = {"progress": progress, "referrer": entry.referrer}
        opened = cache.open_fetched(entry.card.name, file, location, **options)
    with opened as stream:
        yield stream


def _build(card, file):
    if file.kind == "encoder":
        return building.encoder(card.encoder)
    return building.pretraining(card)


def _field(card, field):
    return card.encoder.name if field == "encoder" else getattr(card, field)
