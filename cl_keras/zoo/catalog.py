"""Catalogs: the one in the package, and those named by `CL_KERAS_ZOO`, separated by commas.

A catalog is a folder of entries (`<name>/card.json`), or a file that `tools/make_catalog.py` made
from one, on this machine or at an https:// address. It is only data: a catalog from the network
cannot name files or servers of this machine.
"""

import collections
import contextlib
import dataclasses
import functools
import hashlib
import os
import pathlib

from absl import logging

from cl_keras.files import open_plain
from cl_keras.spelling import did_you_mean
from cl_keras.zoo import cards
from cl_keras.zoo.cards import addresses, names, schema
from cl_keras.zoo.download import cache, http

OWN = pathlib.Path(__file__).with_name("catalog.json")
MAX_BYTES = 2 * 2**20
LIMITS = http.Limits(timeout=5, attempts=2, window=5, max_bytes=MAX_BYTES)
"""A catalog is small: a server that is refused or silent is given up after seconds."""


@dataclasses.dataclass(frozen=True)
class CatalogFile:
    """The content of a catalog file. `base` is the address above the folders of the entries."""

    schema: int
    base: str | None
    entries: tuple[cards.Card, ...]

    def __post_init__(self):
        if self.schema != cards.SCHEMA:
            raise ValueError(f"schema must be {cards.SCHEMA}; received {self.schema}.")
        count = collections.Counter(card.name for card in self.entries)
        if twice := sorted(name for name, number in count.items() if number > 1):
            raise ValueError(f"{', '.join(twice[:5])}: there is more than one entry.")


@dataclasses.dataclass(frozen=True)
class Entry:
    """A card, and the catalog it comes from.

    Attributes:
        where: path or address of the catalog, for messages.
        folder: folder of the catalog's files on this machine, or None.
        base: address above the folders of the entries, or None.
        referrer: address of the catalog, if it came over the network.
    """

    card: cards.Card
    where: str
    folder: pathlib.Path | None
    base: str | None
    referrer: str | None = None

    def open(
        self, file: cards.File, *, progress: bool = True
    ) -> contextlib.AbstractContextManager[cache.Verified]:
        """Opens a file of the card; its hash was checked through the same descriptor."""
        location = self.locate(file)
        if isinstance(location, pathlib.Path):
            return cache.open_verified(location, file)
        options = {"progress": progress, "referrer": self.referrer}
        return cache.open_fetched(self.card.name, file, location, **options)

    def locate(self, file: cards.File) -> pathlib.Path | str:
        """The location of a file of the card: a path on this machine, or an address."""
        if file.address.startswith("file://"):
            return addresses.local_path(file.address)
        if "://" in file.address:
            return file.address
        if self.folder is not None:
            path = self.folder / self.card.name / file.address
            if os.path.realpath(path) != os.path.join(
                os.path.realpath(self.folder), self.card.name, *file.address.split("/")
            ):
                raise ValueError(
                    f"{path} leads out of {self.folder} through a link, which is refused."
                )
            if path.is_file():
                return path
        if self.base is not None:
            return f"{self.base.rstrip('/')}/{self.card.name}/{file.address}"
        raise FileNotFoundError(
            f"The file {file.address} of {self.card.name} is not next to its catalog "
            f"({self.where}), which gives no address for it. Clone the repository of cl_keras, "
            "whose folder zoo/ has it, and set CL_KERAS_ZOO to that folder."
        )


def entries() -> list[Entry]:
    """All entries of all catalogs, in order."""
    found = list(_read_file(OWN, OWN.parents[2] / "zoo"))
    for where in filter(None, map(str.strip, os.environ.get("CL_KERAS_ZOO", "").split(","))):
        found += read(where)
    return found


def find(name: str) -> Entry:
    """The entry with a name, if there is one, and catalogs do not disagree about it."""
    name, known = names.check_name(name), entries()
    found = [entry for entry in known if entry.card.name == name]
    if not found:
        every = {entry.card.name for entry in known}
        raise ValueError(
            f"The zoo has no {name!r}.{did_you_mean(name, every, 3)} `cl-keras zoo list` shows "
            f"all {len(every)}; CL_KERAS_ZOO names more catalogs."
        )
    if any(entry.card != found[0].card for entry in found):
        catalogs = " and ".join(entry.where for entry in found)
        raise ValueError(f"Catalogs disagree about {name!r}: {catalogs}. Use only one of them.")
    return found[0]


def read(where: str) -> list[Entry]:
    """The entries of a catalog: a folder of entries, a file, or an address."""
    if "://" in where:
        addresses.check(where)
        if where.startswith("file://"):
            return read(str(addresses.local_path(where)))
        return _read_remote(where, cache.root())
    path = pathlib.Path(where).expanduser()
    if path.is_dir():
        return read_folder(path)
    if not path.exists():
        raise FileNotFoundError(
            f"CL_KERAS_ZOO names {where!r}, but there is no such folder or file."
        )
    return _read_file(path, path.parent)


def read_folder(folder: str | pathlib.Path) -> list[Entry]:
    """The entries of a folder of `<name>/card.json`."""
    found = []
    for path in sorted(pathlib.Path(folder).glob("*/card.json")):
        if path.is_symlink() or path.parent.is_symlink():
            raise ValueError(f"{path} leads out of {folder} through a link, which is refused.")
        card = schema.read(cards.Card, _bounded(path), str(path))
        if card.name != path.parent.name:
            raise ValueError(f"{path} is the card of {card.name!r}; folder and name must agree.")
        found.append(Entry(card, str(folder), pathlib.Path(folder), None))
    return found


def _read_file(path, folder):
    content = parse(_bounded(path), str(path))
    return [Entry(card, str(path), folder, content.base) for card in content.entries]


def parse(text: str | bytes, what: str, *, referrer: str | None = None) -> CatalogFile:
    """A `CatalogFile` from JSON; what came from the network has its address as `referrer`."""
    content = schema.read(CatalogFile, text, what)
    named = [file.address for card in content.entries for file in card.all_files]
    named = [address for address in named if "://" in address]
    for address in (*named, *([] if content.base is None else [content.base])):
        addresses.check(address, referrer=referrer)
    return content


def _bounded(path):
    with open_plain(path) as stream:
        content = stream.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise ValueError(f"{path} has more than {MAX_BYTES} bytes, the maximum of a catalog.")
    return content


@functools.cache  # once per process
def _read_remote(address, root):
    """The catalog at an address, or the last one downloaded if it cannot be reached."""
    folder = root / "catalogs" / hashlib.sha256(address.encode()).hexdigest()[:16]
    path, where = folder / "catalog.json", addresses.shown(address)
    if not cache.is_offline():
        try:
            _download(address, folder / "partial", path)
        except OSError as error:
            if not path.is_file():
                reason = f"The catalog that CL_KERAS_ZOO names cannot be read. {error}"
                raise OSError(reason) from error
            logging.warning("%s Using the previous catalog, %s.", error, path)
    if not path.is_file() or path.is_symlink():
        raise OSError(f"CL_KERAS_OFFLINE is set, but the catalog {where} is not in {path}.")
    content = parse(_bounded(path), where, referrer=address)
    base = content.base or address.rpartition("/")[0]
    return [Entry(card, where, None, base, address) for card in content.entries]


def _download(address, partial, path):
    with cache.locked(path.parent):
        cache.retrieve(address, partial, limits=LIMITS, progress=False)
        try:
            parse(_bounded(partial), addresses.shown(address), referrer=address)
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)
