"""NumPy's `.npz` from anywhere: read only as what was expected, and never more of it than that."""

import math
import struct
import zipfile
import zlib

import numpy as np

HEADER = 4096
"""Bytes that the header of one array may take, in the archive and in memory."""

_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_BROKEN = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, NotImplementedError)


def write(path, arrays, *, compressed=False):
    """Writes arrays of finite numbers.

    Args:
        path: of the file, which ends in .npz.
        arrays: {name: array}.
        compressed: deflate them.

    Raises:
        ValueError: for an array that `read` would refuse.
    """
    for name, array in arrays.items():
        _check_numbers(np.asarray(array), name, "The model")
    save = np.savez_compressed if compressed else np.savez
    save(path, **{name: np.asarray(array, order="C") for name, array in arrays.items()})


def read(stream, expected, what):
    """Reads exactly the arrays that are expected.

    All that the archive says of itself is compared before a number is read: no array beyond those
    expected, none twice, none larger. No object is unpickled.

    Args:
        stream: binary file, open.
        expected: {name: (shape, dtype)}.
        what: the name of the file, for errors.

    Returns:
        {name: array}, in the order of `expected`; the arrays cannot be written to.

    Raises:
        ValueError: if the file has anything else, or is damaged.
    """
    most = sum(_bytes_of(*form) for form in expected.values()) + HEADER * (len(expected) + 1)
    if (size := stream.seek(0, 2)) > most:
        raise ValueError(f"{what} has {size} bytes, more than the {most} of all that it may hold.")
    try:
        with zipfile.ZipFile(stream) as archive:
            members = _members(archive, expected, what)
            return {
                name: _read_one(archive, members[name], *form, f"{what}: {name}")
                for name, form in expected.items()
            }
    except (*_BROKEN, RuntimeError, OSError) as error:
        raise ValueError(f"{what} is no whole .npz file: {error}.") from None


def _members(archive, expected, what):
    """The archive's members by name of array, after a look at each."""
    found = {}
    for member in archive.infolist():
        name = member.filename.removesuffix(".npy")
        if name == member.filename or name not in expected:
            raise ValueError(
                f"{what} holds {member.filename[:200]!r}, which the model has no place for. It was "
                "made by another encoder, method or version."
            )
        if name in found:
            raise ValueError(f"{what} holds {member.filename[:200]!r} twice.")
        if member.compress_type not in _METHODS or member.flag_bits & 1:
            raise ValueError(f"{what}: {name} must be stored or deflated, and not encrypted.")
        if not 0 <= member.file_size - _bytes_of(*expected[name]) <= HEADER:
            raise ValueError(
                f"{what}: {name} should be {_form(*expected[name])}, "
                f"{_bytes_of(*expected[name])} bytes; {member.file_size} are there."
            )
        found[name] = member
    if missing := [name for name in expected if name not in found]:
        raise ValueError(
            f"{what} lacks {', '.join(missing[:5])}{' and others' * (len(missing) > 5)}; "
            f"{len(found)} of {len(expected)} arrays are there."
        )
    return found


def _read_one(archive, member, shape, dtype, what):
    with archive.open(member) as file:
        found_shape, in_columns, found_dtype = _read_header(file, what)
        if (found_shape, found_dtype) != (tuple(shape), np.dtype(dtype)) or in_columns:
            raise ValueError(
                f"{what} should be {_form(shape, dtype)}; received "
                f"{_form(found_shape, found_dtype)}{', in columns' * in_columns}."
            )
        data = file.read(_bytes_of(shape, dtype) + 1)
        ends = file.tell()
    if len(data) != _bytes_of(shape, dtype) or ends != member.file_size:
        raise ValueError(f"{what} should have {_bytes_of(shape, dtype)} bytes; {len(data)} came.")
    array = np.frombuffer(data, dtype).reshape(shape)
    _check_numbers(array, what, "The file")
    return array


def _read_header(file, what):
    """Shape, whether it is in columns, and dtype, as the file says."""
    readers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    try:
        version = np.lib.format.read_magic(file)
        if version not in readers:
            raise ValueError(f"version {version} of the format is not read")
        return readers[version](file, max_header_size=HEADER)
    except Exception as error:  # NumPy parses it as Python's literals, which fail in many ways
        raise ValueError(f"{what} has no valid header: {str(error)[:200]}.") from None


def _check_numbers(array, name, whose):
    if array.dtype.kind not in "fiub" or array.dtype.hasobject:
        raise ValueError(f"{whose} has {name} of {array.dtype}; only plain numbers are kept.")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ValueError(f"{whose} has numbers that are not finite in {name}.")


def _bytes_of(shape, dtype):
    return math.prod(shape) * np.dtype(dtype).itemsize


def _form(shape, dtype):
    return f"{np.dtype(dtype)} {list(shape)}"
