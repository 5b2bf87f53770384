"""The checks that every measure makes of the numbers it is given."""

import numpy as np


def vectors(name, value, width=None):
    """Returns `value` as a float32 matrix, or says what is wrong with it.

    Args:
        name: what the caller calls it, for the message.
        value: array-like [N, D] of finite numbers, N ≥ 1 and D ≥ 1.
        width: the D that is expected, or None for any.

    Raises:
        ValueError: not a matrix, empty, of another width, or not finite.
    """
    array = np.asarray(value)
    if array.ndim != 2 or 0 in array.shape:
        raise ValueError(
            f"{name} must be a matrix [rows, width] with at least one row and one column; "
            f"received shape {array.shape}. Flatten or pool other features first."
        )
    if width is not None and array.shape[1] != width:
        raise ValueError(
            f"{name} must have {width} columns, as the vectors it is compared with; received "
            f"{array.shape[1]}. Make both with the same encoder."
        )
    array = array.astype(np.float32, copy=False)
    bad = ~np.isfinite(array).all(axis=1)
    if bad.any():
        raise ValueError(
            f"{name} must be finite; received {int(bad.sum())} of {len(array)} rows with NaN or "
            f"infinity (the first is row {int(bad.argmax())}). The encoder has diverged: go back "
            "to an earlier checkpoint or train with a lower learning rate."
        )
    return array


def labels(name, value, rows):
    """Returns `value` as int64 labels [rows], or says what is wrong with it.

    Args:
        name: what the caller calls it, for the message.
        value: array-like [rows] of integers ≥ 0.
        rows: how many are expected.

    Raises:
        ValueError: absent, of another length, not integers, or negative.
    """
    if value is None:
        raise ValueError(
            f"{name} must hold one label per row; received None. Use images with labels: class "
            "folders, a labelled data set, or labels=…"
        )
    array = np.asarray(value)
    if array.shape != (rows,):
        raise ValueError(f"{name} must have shape ({rows},); received {array.shape}.")
    if not np.issubdtype(array.dtype, np.integer):
        raise ValueError(f"{name} must be integers; received dtype {array.dtype}.")
    if array.min() < 0:
        raise ValueError(
            f"{name} must be 0 or greater; received {int(array.min())}. Leave out the rows "
            "without a label."
        )
    return array.astype(np.int64, copy=False)


def positive(name, value):
    """Returns `value` as an int ≥ 1, or raises ValueError."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ValueError(f"{name} must be an integer of at least 1; received {value!r}.")
    return int(value)


def above_zero(name, value):
    """Returns `value` as a finite float > 0, or raises ValueError."""
    if not np.isfinite(value) or value <= 0:
        raise ValueError(f"{name} must be a number above 0; received {value!r}.")
    return float(value)


def normalise(array):
    """L2-normalises the rows of a float32 matrix [N, D]; a zero row stays zero.

    Norms are taken in float64, so that very long and very short rows keep their direction.
    """
    norms = np.sqrt(np.einsum("nd,nd->n", array, array, dtype=np.float64))[:, None]
    return (array / np.where(norms == 0, 1, norms)).astype(np.float32)
