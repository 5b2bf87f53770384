"""The project's own weight files, in the safetensors format: only named tensors."""

import math
import pathlib
from collections.abc import Mapping
from typing import BinaryIO

import numpy as np
import safetensors
import safetensors.numpy

Form = tuple[tuple[int, ...], str]
"""Shape and dtype."""

MAX_HEADER_BYTES = 1024
"""Maximum number of bytes of one tensor in the header, including its name."""

_DTYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U64": "uint64",
    "U32": "uint32",
    "U16": "uint16",
    "U8": "uint8",
    "BOOL": "bool",
}


def write(path: pathlib.Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes named arrays of finite numbers.

    Raises:
        ValueError: for an array that `read` would refuse.
    """
    for name, array in arrays.items():
        _check_numbers(np.asarray(array), name, "The model")
    content = {name: np.array(array, order="C") for name, array in arrays.items()}
    safetensors.numpy.save_file(content, path)


def read(stream: BinaryIO, expected: Mapping[str, Form], what: str) -> dict[str, np.ndarray]:
    """Reads exactly the expected arrays, in their order; they are read-only.

    Raises:
        ValueError: if the file has anything else, or is damaged; the message begins with `what`.
    """
    most = sum(_bytes_of(*form) for form in expected.values())
    most += MAX_HEADER_BYTES * (len(expected) + 1)
    if (size := stream.seek(0, 2)) > most:
        raise ValueError(f"{what} has {size} bytes, more than the {most} that the model needs.")
    stream.seek(0)
    try:
        found = dict(safetensors.deserialize(stream.read()))
    except safetensors.SafetensorError as error:
        raise ValueError(
            f"{what} is not a complete .safetensors file: {str(error)[:200]}."
        ) from None
    if surplus := [name for name in found if name not in expected]:
        raise ValueError(
            f"{what} holds {surplus[0][:200]!r}, which the model does not have. It comes from "
            "another encoder, method or version."
        )
    if missing := [name for name in expected if name not in found]:
        raise ValueError(
            f"{what} lacks {', '.join(missing[:5])}{' and others' * (len(missing) > 5)}; "
            f"{len(found)} of {len(expected)} arrays are there."
        )
    return {name: _array(found[name], *form, f"{what}: {name}") for name, form in expected.items()}


def _array(tensor, shape, dtype, what):
    received = _DTYPES.get(tensor["dtype"], tensor["dtype"])
    if (received, list(tensor["shape"])) != (np.dtype(dtype).name, list(shape)):
        raise ValueError(
            f"{what} should be {_form(shape, dtype)}; received {received} {list(tensor['shape'])}."
        )
    array = np.frombuffer(tensor["data"], dtype).reshape(shape)
    array.flags.writeable = False
    _check_numbers(array, what, "The file")
    return array


def _check_numbers(array, name, whose):
    if array.dtype.name not in _DTYPES.values():
        raise ValueError(f"{whose} has {name} of {array.dtype}; only plain numbers are supported.")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ValueError(f"{whose} has numbers that are not finite in {name}.")


def _bytes_of(shape, dtype):
    return math.prod(shape) * np.dtype(dtype).itemsize


def _form(shape, dtype):
    return f"{np.dtype(dtype)} {list(shape)}"
