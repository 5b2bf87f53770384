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


def write(
    path: pathlib.Path, arrays: Mapping[str, np.ndarray], metadata: dict[str, str] | None = None
) -> None:
    """Writes named arrays of finite numbers, and texts about them into the header."""
    for name, array in arrays.items():
        _check_numbers(np.asarray(array), name, "The model")
    content = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    safetensors.numpy.save_file(content, path, metadata)


def read(stream: BinaryIO, expected: Mapping[str, Form], what: str) -> dict[str, np.ndarray]:
    """Reads exactly the expected arrays, in their order, from a file that errors call `what`."""
    most = sum(math.prod(shape) * np.dtype(dtype).itemsize for shape, dtype in expected.values())
    most += MAX_HEADER_BYTES * (len(expected) + 1)
    if (size := stream.seek(0, 2)) > most:
        raise ValueError(f"{what} has {size} bytes, more than the {most} that the model needs.")
    stream.seek(0)
    try:
        found = safetensors.numpy.load(stream.read())
    except (safetensors.SafetensorError, KeyError) as error:  # a KeyError for an unknown type
        reason = str(error)[:200]
        raise ValueError(f"{what} is not a complete .safetensors file: {reason}.") from None
    return checked(found, expected, what)


def checked(
    found: Mapping[str, np.ndarray], expected: Mapping[str, Form], what: str
) -> dict[str, np.ndarray]:
    """The arrays of a file, read-only, in the expected order, if they are the expected ones."""
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
    for name, (shape, dtype) in expected.items():
        array = found[name]
        if (array.shape, array.dtype) != (tuple(shape), np.dtype(dtype)):
            raise ValueError(
                f"{what}: {name} should be {dtype} {list(shape)}; received {array.dtype} "
                f"{list(array.shape)}."
            )
        _check_numbers(array, f"{what}: {name}", "The file")
        array.flags.writeable = False
    return {name: found[name] for name in expected}


def _check_numbers(array, name, whose):
    if array.dtype.kind not in "fiub":  # bfloat16 is "V"
        raise ValueError(f"{whose} has {name} of {array.dtype}; only plain numbers are supported.")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ValueError(f"{whose} has numbers that are not finite in {name}.")
