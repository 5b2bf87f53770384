"""Reads TensorFlow's checkpoints without TensorFlow's reader, which crashes on crafted files.

A checkpoint is an index, a sorted table of LevelDB, and a data file with the numbers. The format of
the table is documented in github.com/google/leveldb, doc/table_format.md; its values are the
messages of tensorflow/core/protobuf/tensor_bundle.proto.
"""

import math
import struct
from collections.abc import Iterator, Mapping
from typing import BinaryIO

import google_crc32c
import numpy as np
from google.protobuf.message import DecodeError
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf.tensor_bundle_pb2 import BundleEntryProto, BundleHeaderProto

MAX_INDEX_BYTES = 4 * 2**20
MAX_TENSORS = 20_000
MAX_NAME_BYTES = MAX_ENTRY_BYTES = 1000
MAX_DIMENSIONS = 8
_FOOTER, _TRAILER = 48, 5
_MAGIC = 0xDB4775248B80FB57
_DTYPES = {types_pb2.DT_FLOAT: "<f4", types_pb2.DT_DOUBLE: "<f8", types_pb2.DT_HALF: "<f2"}


def read_index(stream: BinaryIO) -> dict[str, BundleEntryProto]:
    """{name: entry} of a checkpoint with one data file, from its open index file."""
    data = stream.read(MAX_INDEX_BYTES + 1)
    if not _FOOTER <= len(data) <= MAX_INDEX_BYTES:
        raise ValueError(f"The index has {len(data)} bytes; at most {MAX_INDEX_BYTES} are read.")
    footer = memoryview(data)[-_FOOTER:]
    if struct.unpack_from("<Q", footer, _FOOTER - 8)[0] != _MAGIC:
        raise ValueError("It is not the index of a TensorFlow checkpoint.")
    try:
        _, position = _handle(footer, 0)  # of the filters, which checkpoints do not have
        (offset, size), _ = _handle(footer, position)
        entries, left = {}, len(data)
        for _, value in _block(data, offset, size):
            (offset, size), _ = _handle(value, 0)
            left -= size + _TRAILER
            if left < 0:
                raise ValueError("The index names more blocks than it has.")
            for name, message in _block(data, offset, size):
                entries[name] = bytes(message)
                if len(entries) > MAX_TENSORS:
                    raise ValueError(f"The index has more than {MAX_TENSORS} tensors.")
    except (IndexError, struct.error) as error:
        raise ValueError(f"The index is damaged: {error}.") from None
    header = _message(BundleHeaderProto, entries.pop(b"", b""))
    if header.num_shards != 1 or header.endianness != header.LITTLE:
        raise ValueError(
            f"The data must be in one little-endian file; received {header.num_shards} files."
        )
    return {
        name.decode("utf-8", "replace"): _message(BundleEntryProto, message)
        for name, message in entries.items()
    }


def shape_of(entry: BundleEntryProto) -> tuple[int, ...]:
    """The shape of a tensor."""
    return tuple(dim.size for dim in entry.shape.dim)


def read_arrays(
    stream: BinaryIO, entries: Mapping[str, BundleEntryProto]
) -> Iterator[tuple[str, np.ndarray]]:
    """Reads tensors from the open data file, as (name, array), in the order of storage."""
    end = 0
    for name, entry in sorted(entries.items(), key=lambda item: item[1].offset):
        shape, dtype = shape_of(entry), _DTYPES.get(entry.dtype)
        if dtype is None or entry.slices or len(shape) > MAX_DIMENSIONS:
            raise ValueError(f"{name!r} must be a whole tensor of floating-point numbers.")
        size = np.dtype(dtype).itemsize * math.prod(shape)
        if entry.size != size or entry.offset < end or entry.shard_id != 0:
            raise ValueError(f"{name!r} of the shape {list(shape)} must have {size} bytes.")
        stream.seek(entry.offset)
        data, end = stream.read(size), entry.offset + size
        if len(data) != size:
            raise ValueError(f"The data file ends within {name!r}.")
        if _masked(google_crc32c.value(data)) != entry.crc32c:
            raise ValueError(f"The data of {name!r} is damaged: its checksum differs.")
        yield name, np.frombuffer(data, dtype).reshape(shape)


def _block(data, offset, size):
    """(key, value) of each entry of a block of the table."""
    content = memoryview(data)[offset : offset + size]
    trailer = data[offset + size : offset + size + _TRAILER]
    if len(trailer) < _TRAILER or trailer[0] != 0:
        raise ValueError("The index is cut off, or compressed, which checkpoints are not.")
    if (
        _masked(google_crc32c.value(data[offset : offset + size + 1]))
        != struct.unpack("<I", trailer[1:])[0]
    ):
        raise ValueError("The index is damaged: its checksum differs.")
    [restarts] = struct.unpack_from("<I", content, size - 4)
    position, last, key = 0, size - 4 - 4 * restarts, b""
    while position < last:
        shared, position = _varint(content, position)
        own, position = _varint(content, position)
        length, position = _varint(content, position)
        if shared > len(key) or shared + own > MAX_NAME_BYTES or position + own + length > last:
            raise ValueError("The index is damaged: an entry leads beyond its block.")
        if length > MAX_ENTRY_BYTES:
            raise ValueError(f"An entry of the index has {length} bytes.")
        key = key[:shared] + bytes(content[position : position + own])
        yield key, content[position + own : position + own + length]
        position += own + length


def _handle(data, position):
    """((offset, size) of a block, position after them)."""
    offset, position = _varint(data, position)
    size, position = _varint(data, position)
    return (offset, size), position


def _varint(data, position):
    """(number, position after it)."""
    number = 0
    for shift in range(0, 35, 7):
        byte = data[position]
        position += 1
        number |= (byte & 127) << shift
        if byte < 128:
            return number, position
    raise ValueError("The index is damaged: a number is too long.")


def _message(kind, data):
    try:
        return kind.FromString(data)
    except DecodeError as error:
        raise ValueError(f"The index is damaged: {error}.") from None


def _masked(crc):
    """A checksum in the form that LevelDB stores."""
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF
