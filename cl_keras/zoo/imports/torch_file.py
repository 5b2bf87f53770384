"""Reads PyTorch's checkpoints without PyTorch, and without running anything in them.

Both formats of `torch.save` are read: the zip archive (PyTorch 1.6 and later) and the older file of
several pickles followed by the numbers. Numbers are only read when they are requested.
"""

import contextlib
import io
import itertools
import os
import stat
import struct
import zipfile
from collections.abc import Callable, Iterator, Mapping
from typing import Any, BinaryIO

import numpy as np

from cl_keras.zoo.imports import pickles, torch_tensors, zips
from cl_keras.zoo.imports.torch_tensors import Storage, Tensor

MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_PROTOCOL = 1001
MAX_KEY = 120
MAX_HEAD_STEPS, MAX_KEYS_STEPS = 1000, 60_000
"""Limits for the pickles around the value in the older format; each of 20,000 keys takes three."""
_PICKLE, _ZIP = b"\x80", b"PK"


class TorchFile:
    """An open checkpoint.

    Attributes:
        value: the saved value: dicts, lists, plain values, `torch_tensors.Tensor`s, and
            `pickles.Opaque` for everything else.
    """

    def __init__(self, value: Any, read_storage: Callable[[Storage], bytes]):
        self.value = value
        self._read_storage = read_storage

    def arrays(self, tensors: Mapping[str, Tensor]) -> Iterator[tuple[str, np.ndarray]]:
        """Reads tensors of this file, as (key, array); a shared storage is read only once."""
        by_storage = sorted(tensors.items(), key=lambda item: item[1].storage.key)
        for storage, group in itertools.groupby(by_storage, key=lambda item: item[1].storage):
            data = self._read_storage(storage)
            if len(data) != storage.nbytes:
                raise ValueError(
                    f"The storage {storage.key!r} must have {storage.nbytes} bytes; the file has "
                    f"{len(data)}. It may be damaged."
                )
            for key, tensor in group:
                yield key, tensor.take(np.frombuffer(data, storage.dtype))


@contextlib.contextmanager
def opened(stream: BinaryIO) -> Iterator[TorchFile]:
    """Yields the `TorchFile` in an open file."""
    start = stream.read(2)
    stream.seek(0)
    if start == _ZIP:
        with zips.opened(stream) as archive:
            yield _from_zip(archive)
    elif start[:1] == _PICKLE:
        yield _from_pickles(stream)
    else:
        raise ValueError(
            "It is not a checkpoint written by torch.save: it begins with "
            f"{start!r}, neither a zip archive nor a pickle."
        )


def _from_zip(archive):
    members = _checked_members(archive)
    root = next(iter(members), "").split("/")[0]
    if f"{root}/data.pkl" not in members:
        raise ValueError(f"It is a zip archive without data.pkl; received {sorted(members)[:5]}.")
    order = members.get(f"{root}/byteorder")
    if order is not None and _read_member(archive, order, 16) != b"little":
        raise ValueError("Its numbers must be in little-endian order.")

    def read_storage(storage):
        name = f"{root}/data/{storage.key}"
        if name not in members:
            raise ValueError(f"It lacks the numbers {name!r} that a tensor refers to.")
        return _read_member(archive, members[name], storage.nbytes)

    pickle = _read_member(archive, members[f"{root}/data.pkl"], pickles.MAX_PICKLE_BYTES)
    return TorchFile(_unpickled(io.BytesIO(pickle), {}), read_storage)


def _checked_members(archive):
    """{name: member} of an archive like those of torch.save: one folder, stored, no links."""
    infos = archive.infolist()
    members = {info.filename: info for info in infos}
    if len(members) != len(infos):
        raise ValueError("The archive has two members with the same name.")
    for name, info in members.items():
        parts = name.split("/")
        if "\\" in name or not all(parts) or {".", ".."} & set(parts) or len(parts) < 2:
            raise ValueError(f"The archive has a member with the invalid name {name[:120]!r}.")
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
    with zips.damage():
        return archive.read(info)


def _from_pickles(file):
    """The format before PyTorch 1.6: magic, protocol, system, value, keys, then the numbers."""
    if _unpickled(file, {}, MAX_HEAD_STEPS) != MAGIC:
        raise ValueError("It is a pickle, but was not written by torch.save.")
    protocol, system = (_unpickled(file, {}, MAX_HEAD_STEPS) for _ in range(2))
    if protocol != LEGACY_PROTOCOL or not isinstance(system, dict):
        raise ValueError(f"It must have protocol {LEGACY_PROTOCOL}; received {str(protocol)[:40]}.")
    if system.get("little_endian") is not True:
        raise ValueError("Its numbers must be in little-endian order.")
    storages = {}
    value, keys = _unpickled(file, storages), _unpickled(file, {}, MAX_KEYS_STEPS)
    offsets = _offsets(file, keys, storages)

    def read_storage(storage):
        file.seek(offsets[storage.key])
        return file.read(storage.nbytes)

    return TorchFile(value, read_storage)


def _offsets(file, keys, storages):
    """{key: offset of its numbers}, found by the count before each."""
    texts = isinstance(keys, list) and all(isinstance(key, str) for key in keys)
    if not texts or sorted(keys) != sorted(storages):
        raise ValueError("Its list of storages does not match its tensors.")
    end = os.fstat(file.fileno()).st_size
    offsets = {}
    for key in keys:
        count = file.read(8)
        if len(count) < 8 or struct.unpack("<q", count)[0] != storages[key].size:
            raise ValueError(f"Its storage {key!r} has another size than its tensors say.")
        offsets[key] = file.tell()
        if file.seek(storages[key].nbytes, os.SEEK_CUR) > end:
            raise ValueError(f"It is cut off within the storage {key!r}.")
    return offsets


def _unpickled(stream, storages, max_steps=None):
    """The value of a pickle; the storages that it refers to are added to {key: storage}."""

    def persistent(identity):
        storage = _referenced(*identity)
        if isinstance(storage, Storage) and storages.setdefault(storage.key, storage) != storage:
            raise ValueError(f"The storage {storage.key!r} has two different descriptions.")
        return storage

    return pickles.read(stream, torch_tensors.NAMES, persistent, max_steps=max_steps)


def _referenced(kind=None, *rest):
    """The target of a reference: a storage, or something that is not needed."""
    if kind != "storage":
        return pickles.Opaque("a reference")
    if len(rest) not in (4, 5):
        raise ValueError("It has an incomplete reference to a storage.")
    dtype, key, _, size, *view = rest
    if not isinstance(key, str) or len(key) > MAX_KEY or not (key.isalnum() and key.isascii()):
        raise ValueError(f"A storage must have a plain key; received {str(key)[:40]!r}.")
    if not torch_tensors.is_size(size):
        raise ValueError(f"The storage {key!r} must have a size.")
    if not isinstance(dtype, np.dtype):
        return pickles.Opaque("a storage of an unknown type")
    if view not in ([], [None]):
        raise ValueError("A storage is a view of another one, which is not supported.")
    return Storage(key, dtype, size)
