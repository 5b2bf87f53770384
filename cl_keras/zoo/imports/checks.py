"""Checks that a checkpoint has everything that an encoder needs, and nothing unknown."""

import re
from collections.abc import Mapping, Sequence

import numpy as np

MAX_NAMES = 8
"""Maximum number of missing or surplus keys that an error lists."""


def check_keys(
    expected: Mapping[str, Sequence[int]],
    found: Mapping[str, Sequence[int] | None],
    dropped: Sequence[str],
    what: str,
) -> None:
    """Refuses a checkpoint that lacks a key, or has one that is not known to be unused.

    Args:
        expected: {key: shape}.
        found: {key: shape}, None for anything but a tensor.
        dropped: patterns of the keys that are left out on purpose.
        what: name of the format, for errors.
    """
    if missing := [key for key in expected if key not in found]:
        raise ValueError(f"A checkpoint of the format {what!r} must have {_list(missing)}.")
    kept = [key for key in found if not any(re.match(pattern, key) for pattern in dropped)]
    if surplus := [key for key in kept if key not in expected]:
        raise ValueError(
            f"A checkpoint of the format {what!r} must not have {_list(surplus)}, which neither "
            "belongs to the encoder nor is known to be unused."
        )
    for key, shape in expected.items():
        if (received := found[key]) is None:
            raise ValueError(f"{key!r} must be a tensor of plain numbers, but is not.")
        if tuple(received) != tuple(shape):
            raise ValueError(
                f"{key!r} must have the shape {list(shape)}; received {list(received)}."
            )


def check_values(key: str, array: np.ndarray) -> np.ndarray:
    """An array as float32, if it holds finite numbers, and no variance below 0."""
    if array.dtype.kind != "f":
        raise ValueError(f"{key!r} must hold floating-point numbers; received {array.dtype}.")
    with np.errstate(over="ignore"):
        array = array.astype(np.float32, copy=False)
    if not np.isfinite(array).all():
        raise ValueError(f"{key!r} must hold finite float32 numbers; some are not.")
    if key.endswith(("running_var", "moving_variance")) and (array < 0).any():
        raise ValueError(f"{key!r} must hold variances; some are below 0.")
    return array


def _list(keys):
    more = f" and {len(keys) - MAX_NAMES} more" if len(keys) > MAX_NAMES else ""
    return ", ".join(repr(str(key)[:160]) for key in keys[:MAX_NAMES]) + more
