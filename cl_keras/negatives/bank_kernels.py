"""Loops over drawn rows of a memory bank, compiled for a CPU.

They read the rows where they are: once for the scores, and once more for the gradient. Copies of
them, as `tf.gather` makes, would be written by one core and read by another, which takes long where
the two share no cache.
"""

import numpy as np

from cl_keras import aligned, loops


def scores(bank: np.ndarray, units: np.ndarray, slots: np.ndarray) -> np.ndarray:
    """Scalar products of vectors with rows of the bank, `[q, b, m]`.

    Args:
        bank: float `[n, dim]`.
        units: `[q, b, dim]`, of the same type.
        slots: int32 `[b, m]`, the rows for each of b images.

    Raises:
        IndexError: for a row that is not in the bank.
    """
    _check(bank, slots)
    found = aligned.empty((len(units), *slots.shape), units.dtype)
    loops.on_all_cores(lambda *part: _scores(bank, units, slots, found, *part), len(slots))
    return found


def gradients(bank: np.ndarray, by_scores: np.ndarray, slots: np.ndarray) -> np.ndarray:
    """The gradient of `scores` by `units`, `[q, b, dim]`.

    Args:
        bank: as for `scores`.
        by_scores: `[q, b, m]`.
        slots: as for `scores`.
    """
    _check(bank, slots)
    found = np.zeros((*by_scores.shape[:2], bank.shape[1]), bank.dtype)
    loops.on_all_cores(lambda *part: _gradients(bank, by_scores, slots, found, *part), len(slots))
    return found


def _check(bank, slots):
    """Compiled loops would read beyond the bank."""
    if slots.size and not (0 <= slots.min() and slots.max() < len(bank)):
        raise IndexError(
            f"Rows of a memory bank of {len(bank)} images must lie in 0..{len(bank) - 1}; received "
            f"{slots.min()} to {slots.max()}."
        )


@loops.compiled
def _scores(bank, units, slots, found, begin, end):
    for i in range(begin, end):
        for k in range(slots.shape[1]):
            row = slots[i, k]
            for q in range(len(units)):
                total = units.dtype.type(0)
                for d in range(bank.shape[1]):
                    total += units[q, i, d] * bank[row, d]
                found[q, i, k] = total


@loops.compiled
def _gradients(bank, by_scores, slots, found, begin, end):
    for i in range(begin, end):
        for k in range(slots.shape[1]):
            row = slots[i, k]
            for q in range(len(by_scores)):
                for d in range(bank.shape[1]):
                    found[q, i, d] += by_scores[q, i, k] * bank[row, d]
