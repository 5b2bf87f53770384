"""The functions of the zoo for users: list, card, download, load."""

import contextlib
import functools
import pathlib
import typing

import keras

from cl_keras.spelling import did_you_mean
from cl_keras.zoo import cards, catalog, imports
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
    for field, value in {"method": method, "encoder": encoder, "data": data}.items():
        if value is None:
            continue
        values = {
            name: card.encoder.name if field == "encoder" else getattr(card, field)
            for name, card in found.items()
        }
        if value not in values.values():
            known = sorted(set(values.values()))
            raise ValueError(
                f"The zoo has no entry with the {field} {value!r}."
                f"{did_you_mean(str(value), known, 3)} It has: {', '.join(known) or 'none'}."
            )
        found = {name: card for name, card in found.items() if values[name] == value}
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
    with entry.open(entry.card.file(kind), progress=progress) as (stream, _):
        return pathlib.Path(stream.name)


def load(name: str, *, kind: str = "encoder", progress: bool = True) -> keras.Model:
    """Loads a pretrained model: downloads it if necessary, checks its hash, and builds it.

        encoder = cl_keras.zoo.load("simclr_small_resnet_fashion_mnist_mini")
        classifier = keras.Sequential([encoder, keras.layers.Dense(10)])

    A checkpoint of another project is converted in the first call, and the result is kept in the
    cache. It is used as long as the checkpoint, whose hash is checked in every call, is the same.

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
    card, what = entry.card, f"{entry.card.name}: {kind}"
    file = card.file(kind)
    files = [file, *(other for other in card.files if other.kind == cards.DATA)]
    with contextlib.ExitStack() as stack:
        opened = [stack.enter_context(entry.open(each, progress=progress)) for each in files]
        if file.format != cards.OWN_FORMAT:
            return imports.encoder_of(card, file.format, opened, what)
        stream, _ = opened[0]
        if kind == "pretraining":
            config, where = card.training.config or {}, f"{card.name}: training.config"
            make = functools.partial(building.pretraining, config, card.encoder, where)
        else:
            make = functools.partial(building.encoder, card.encoder)
        return building.filled(make, stream, what)
