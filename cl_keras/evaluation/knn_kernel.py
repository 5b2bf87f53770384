"""A compiled loop that picks the best of each row of scores, in a quarter of TensorFlow's time."""

import numpy as np

from cl_keras.loops import compiled

GROUP = 16
"""Scores that are first searched by their maximum."""

BINS = 1024

# Global names, which compiled functions treat as float32 constants, and so stay in float32.
LAST_BIN, TINY = np.float32(BINS - 1), np.float32(1e-30)


@compiled
def select(scores, k, indices, cosines):
    """Finds the k highest scores of each row, in descending order; of equal ones the first.

    A group has every g-th score, where g is the number of groups. The k highest maxima of groups
    are k scores, so no lower score is among the k highest, and few are above their minimum.

    Args:
        scores: float32 `[q, n]`, finite.
        k: from 1 to n.
        indices: int64 `[q, k]`, to be filled.
        cosines: float32 `[q, k]`, to be filled.
    """
    n = scores.shape[1]
    groups = n // GROUP if n // GROUP > 2 * k else n  # if they are few, nothing is saved
    best, bins = np.empty(groups, np.float32), np.empty(groups, np.uint32)
    group = np.empty(groups + 1, np.uint32)
    for i in range(len(scores)):
        row, near, cosine = scores[i], indices[i], cosines[i]
        _maxima(row, best)
        least = _bound(best, bins, k)
        count, num_groups = 0, 0
        for j in range(groups):  # stored in any case, counted if it is wanted: no branches
            group[num_groups] = j
            num_groups += best[j] >= least
        for start in range(0, n - n % groups, groups):
            for j in range(num_groups):
                at = start + group[j]
                if row[at] >= least:
                    count = _insert(row[at], at, near, cosine, count)
        for at in range(n - n % groups, n):
            if row[at] >= least:
                count = _insert(row[at], at, near, cosine, count)


@compiled
def _insert(score, index, near, cosine, count):
    """Inserts a score behind all that are not lower; the last one drops out if there is no room."""
    k = len(cosine)
    if count == k and score <= cosine[k - 1]:
        return count
    place = min(count, k - 1)
    while place > 0 and cosine[place - 1] < score:
        cosine[place], near[place] = cosine[place - 1], near[place - 1]
        place -= 1
    cosine[place], near[place] = score, index
    return min(count + 1, k)


@compiled
def _maxima(row, best):
    """The maximum of each group."""
    groups = len(best)
    best[:] = row[:groups]
    for start in range(groups, len(row) - groups + 1, groups):
        others = row[start : start + groups]
        for j in range(groups):
            best[j] = max(best[j], others[j])


@compiled
def _bound(best, bins, k):
    """A number which at least k of the maxima reach, and few more than k, by their histogram."""
    low, high = best[0], best[0]
    for j in range(len(best)):
        low, high = min(low, best[j]), max(high, best[j])
    scale = LAST_BIN / max(high - low, TINY)
    counts = np.zeros(BINS, np.uint32)
    for j in range(len(best)):
        bins[j] = np.uint32((best[j] - low) * scale)
        counts[bins[j]] += 1
    lowest, count = BINS, 0
    while count < k:
        lowest -= 1
        count += counts[lowest]
    least = high
    for j in range(len(best)):
        if bins[j] >= lowest:
            least = min(least, best[j])
    return least
