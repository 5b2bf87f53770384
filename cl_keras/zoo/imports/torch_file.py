"""Checkpoints of PyTorch without PyTorch, and without running anything that stands in them.

Both forms of `torch.save` are read: the zip archive (PyTorch 1.6 and later) and the older file of
several pickles with the numbers behind them. Numbers stay on the disk until they are asked for.
"""

import contextlib
import io
import os
import pathlib
import stat
import struct
import zipfile

import numpy as np

from cl_keras.zoo.imports import pickles, torch_tensors

MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_PROTOCOL = 1001
MAX_MEMBERS = 20_000
_PICKLE, _ZIP = b"\x80", b"PK"


class TorchFile:
    """An open checkpoint.

    Attributes:
        value: what was saved: dicts, lists, plain values, and `torch_tensors.Tensor`s.
    """

    def __init__(self, value, read_storage):
        self.value = value
        self._read_storage = read_storage

    def array(self, tensor):
        """The numbers of a tensor of this file.

        Raises:
            ValueError: if the file does not hold them whole.
        """
        storage = tensor.storage
        data = self._read_storage(storage)
        if len(data) != storage.nbytes:
            raise ValueError(
                f"The storage {storage.key!r} must have {storage.nbytes} bytes; the file has "
                f"{len(data)}. It may be damaged."
            )
        return tensor.take(np.frombuffer(data, storage.type.stored))


@contextlib.contextmanager
def open_checkpoint(path):
    """Hands out the `TorchFile` at `path`.

    Raises:
        ValueError: for a file that is no such checkpoint, is damaged, or holds more than tensors
            and plain values.
        OSError: if it cannot be read.
    """
    path = pathlib.Path(path)
    with path.open("rb") as file, _named(path):
        start = file.read(2)
        file.seek(0)
        if start == _ZIP:
            with _open_zip(file) as archive:
                yield _from_zip(archive)
        elif start[:1] == _PICKLE:
            yield _from_pickles(file)
        else:
            raise ValueError(
                "It is no checkpoint that torch.save has written: it begins with "
                f"{start!r}, neither a zip archive nor a pickle."
            )


@contextlib.contextmanager
def _named(path):
    """Errors about a file say which."""
    try:
        yield
    except (ValueError, zipfile.BadZipFile, NotImplementedError) as error:
        raise ValueError(f"{path.name}: {error}") from error


@contextlib.contextmanager
def _open_zip(file):
    try:
        archive = zipfile.ZipFile(file)
    except (OSError, EOFError, struct.error, IndexError) as error:
        raise ValueError(f"The zip archive is damaged: {error}.") from error
    with archive:
        yield archive


def _from_zip(archive):
    members = _checked_members(archive)
    [root] = {name.split("/")[0] for name in members} or {""}
    if f"{root}/data.pkl" not in members:
        raise ValueError(f"It is a zip archive without a data.pkl; received {sorted(members)[:5]}.")
    order = members.get(f"{root}/byteorder")
    if order is not None and _read_member(archive, order, 16) != b"little":
        raise ValueError("Its numbers are not in little-endian order; only that is read.")

    def read_storage(storage):
        name = f"{root}/data/{storage.key}"
        if name not in members:
            raise ValueError(f"It lacks the numbers {name!r} that a tensor refers to.")
        return _read_member(archive, members[name], storage.nbytes)

    pickle = _read_member(archive, members[f"{root}/data.pkl"], pickles.MAX_PICKLE_BYTES)
    return TorchFile(_Unpickler().read(io.BytesIO(pickle)), read_storage)


def _checked_members(archive):
    """{name: member} of an archive as torch.save writes them: one folder, stored, no links."""
    infos = archive.infolist()
    if len(infos) > MAX_MEMBERS:
        raise ValueError(f"The archive has {len(infos)} members, more than {MAX_MEMBERS}.")
    members = {info.filename: info for info in infos}
    if len(members) != len(infos):
        raise ValueError("The archive has two members of one name.")
    for name, info in members.items():
        parts = name.split("/")
        if "\\" in name or not all(parts) or {".", ".."} & set(parts) or len(parts) < 2:
            raise ValueError(f"The archive has a member of the name {name[:120]!r}.")
        if stat.S_ISLNK(info.external_attr >> 16):
            raise ValueError(f"The archive's member {name[:120]!r} is a link.")
        stored = info.compress_type == zipfile.ZIP_STORED and not info.flag_bits & 1
        if not stored or info.file_size != info.compress_size:
            raise ValueError(
                f"The archive's member {name[:120]!r} is compressed or encrypted; torch.save does "
                "neither."
            )
    if len({name.split("/")[0] for name in members}) > 1:
        raise ValueError("The archive has more than one folder; torch.save writes one.")
    return members


def _read_member(archive, info, nbytes):
    if info.file_size > nbytes:
        raise ValueError(
            f"The archive's member {info.filename[:120]!r} has {info.file_size} bytes, more than "
            f"the {nbytes} that it should have."
        )
    try:
        return archive.read(info)
    except (OSError, EOFError, struct.error) as error:
        raise ValueError(f"The zip archive is damaged: {error or 'it ends too early'}.") from error


def _from_pickles(file):
    """The form before PyTorch 1.6: magic, protocol, system, value, keys, then the numbers."""
    plain = _Unpickler()
    if plain.read(file) != MAGIC:
        raise ValueError("It is a pickle, but none that torch.save has written.")
    protocol, system = plain.read(file), plain.read(file)
    if protocol != LEGACY_PROTOCOL or not isinstance(system, dict):
        raise ValueError(f"It is not of the protocol {LEGACY_PROTOCOL}; only that is read.")
    if system.get("little_endian") is not True:
        raise ValueError("Its numbers are not in little-endian order; only that is read.")
    unpickler = _Unpickler()
    value, keys = unpickler.read(file), plain.read(file)
    places = _places(file, keys, unpickler.storages)

    def read_storage(storage):
        file.seek(places[storage.key])
        return file.read(storage.nbytes)

    return TorchFile(value, read_storage)


def _places(file, keys, storages):
    """{key: where its numbers begin}, from the count that stands before each."""
    texts = isinstance(keys, list) and all(isinstance(key, str) for key in keys)
    if not texts or sorted(keys) != sorted(storages):
        raise ValueError("Its list of storages is not that of its tensors.")
    end = os.fstat(file.fileno()).st_size
    places = {}
    for key in keys:
        count = file.read(8)
        if len(count) < 8 or struct.unpack("<q", count)[0] != storages[key].size:
            raise ValueError(f"Its storage {key!r} is not of the size that the tensors say.")
        places[key] = file.tell()
        if file.seek(storages[key].nbytes, os.SEEK_CUR) > end:
            raise ValueError(f"It ends within the storage {key!r}; it is not whole.")
    return places


class _Unpickler:
    """Reads pickles that refer to storages, and notes which."""

    def __init__(self):
        self.storages = {}

    def read(self, stream):
        return pickles.read(
            stream, torch_tensors.NAMES | torch_tensors.IGNORED_GLOBALS, self._persistent
        )

    def _persistent(self, identity):
        """What a pickle refers to: a storage, or the class of a module with its source text."""
        kind, *rest = identity or [None]
        if kind == "module" and rest and isinstance(rest[0], pickles.Opaque):
            return rest[0]
        if kind != "storage" or len(rest) not in (4, 5):
            raise ValueError("It refers to something outside itself that is no storage.")
        type_, key, _, size, *view = rest
        if not isinstance(type_, torch_tensors.StorageType) or not isinstance(key, str):
            raise ValueError("A storage must have a known type and a key.")
        if not key.isalnum() or not key.isascii() or not torch_tensors.is_size(size):
            raise ValueError(f"The storage {key[:40]!r} must have a plain key and a size.")
        if view not in ([], [None]):
            raise ValueError("A storage is a view of another one; such files are not read.")
        storage = torch_tensors.Storage(key, type_, size)
        if self.storages.setdefault(key, storage) != storage:
            raise ValueError(f"The storage {key!r} is described in two ways.")
        return storage
