"""Checks of the arguments of metrics."""

from typing import Any

import numpy as np

from cl_keras.data.labels import as_labels


def vectors(name: str, value: Any, width: int | None = None) -> np.ndarray:
    """Returns `value` as a float32 matrix, if it is valid.

    Args:
        name: name of the argument, for the message.
        value: array-like `[n, d]` of finite numbers, n ≥ 1 and d ≥ 1.
        width: the expected d; default: None, any.

    Raises:
        ValueError: not a matrix, empty, of another width, or not finite.
    """
    array = np.asarray(value)
    if array.ndim != 2 or 0 in array.shape:
        raise ValueError(
            f"{name} must be a matrix [rows, width] with at least one row and one column; "
            f"received shape {array.shape}. Flatten or pool them first."
        )
    if width is not None and array.shape[1] != width:
        raise ValueError(
            f"{name} must have {width} columns, like the vectors they are compared with; received "
            f"{array.shape[1]}. Use the same encoder for both."
        )
    array = array.astype(np.float32, copy=False)
    bad = ~np.isfinite(array).all(axis=1)
    if bad.any():
        raise ValueError(
            f"{name} must be finite; received {int(bad.sum())} of {len(array)} rows with NaN or "
            f"infinity (the first is row {int(bad.argmax())}). The encoder has diverged: return "
            "to an earlier checkpoint or train with a lower learning rate."
        )
    return array


def labels(name: str, value: Any, rows: int) -> np.ndarray:
    """Returns `value` as int64 labels `[rows]` without unlabeled rows, if it is valid.

    Args:
        name: name of the argument, for the message.
        value: array-like `[rows]` or `[rows, 1]` of integers ≥ 0.
        rows: the expected number of labels.

    Raises:
        ValueError: None, another number, not integers, or negative.
    """
    if value is None:
        raise ValueError(
            f"{name} must hold one label per row; received None. Use images with labels: class "
            "folders, a labeled data set, or labels=…"
        )
    array = as_labels(value, rows, "rows", name)
    if array.min() < 0:
        raise ValueError(
            f"{name} must be 0 or greater; received {int(array.min())}. Leave out the rows "
            "without a label."
        )
    return array


def positive(name: str, value: Any) -> int:
    """Returns `value` as an int ≥ 1, or raises ValueError."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ValueError(f"{name} must be an integer of at least 1; received {value!r}.")
    return int(value)


def above_zero(name: str, value: Any) -> float:
    """Returns `value` as a finite float > 0, or raises ValueError."""
    if not np.isfinite(value) or value <= 0:
        raise ValueError(f"{name} must be a number above 0; received {value!r}.")
    return float(value)


def normalize(array: np.ndarray) -> np.ndarray:
    """L2-normalizes the rows of a float32 matrix `[n, d]`; a zero row stays zero.

    Norms are computed in float64, so that very long and very short rows keep their direction.
    """
    norms = np.sqrt(np.einsum("nd,nd->n", array, array, dtype=np.float64))[:, None]
    return (array / np.where(norms == 0, 1, norms)).astype(np.float32)
