"""k-means on the unit sphere."""

from collections.abc import Sequence

import numpy as np

CHUNK = 4096
"""Number of vectors that are compared with all centroids at a time."""

SEEDING_SAMPLE = 16
SEEDING_ROUNDS = 64


def spherical_k_means(
    vectors: np.ndarray,
    k: int,
    *,
    iterations: int = 10,
    seed: int | Sequence[int] = 0,
    start: np.ndarray | None = None,
    chunk: int = CHUNK,
) -> tuple[np.ndarray, np.ndarray]:
    """Clusters vectors by direction (Dhillon & Modha 2001).

    Each vector is assigned to the centroid of largest cosine, then each centroid becomes the
    normalized sum of its vectors, and so on. The start is k-means++ (Arthur & Vassilvitskii 2007),
    which draws vectors with probabilities proportional to `1 - cos` of the nearest centroid so far.
    A centroid without vectors moves to the vector that is farthest from its own centroid.

    NOTE: the start is drawn from a sample of 16 vectors per centroid, in at most 64 rounds of
    several centroids each (as in k-means||, Bahmani et al. 2012), so that thousands of centroids
    take seconds.

    Args:
        vectors: `[N, d]`, of any length above 0; they are normalized first.
        k: number of centroids, at most N.
        iterations: maximum number of iterations, default: 10; it stops if no assignment changes.
        seed: seed of the start, an int or several, default: 0; the same seed gives the same
            clusters.
        start: `[k, d]`, initial centroids; default: None, k-means++.
        chunk: number of vectors to process at a time, default: 4096; this needs memory for
            `chunk · k` numbers, in addition to a normalized copy of the vectors.

    Returns:
        centroids: `[k, d]`, unit rows; float32, or float64 if the vectors are.
        assignments: int64 `[N]`, the centroid of largest cosine.

    Raises:
        ValueError: for vectors that are not finite or have no direction, more clusters than
            vectors, or a start of another shape.
    """
    vectors = _unit(_checked(vectors, k))
    if start is None:
        centroids = _seeds(vectors, k, np.random.default_rng(seed))
    else:
        centroids = _unit(_checked_start(start, [k, vectors.shape[1]], vectors.dtype))
    assignments, cosines = _assign(vectors, centroids, chunk)
    for _ in range(iterations):
        _fill_empty(assignments, cosines, k)
        centroids = _means(vectors, assignments, k, chunk)
        before, (assignments, cosines) = assignments, _assign(vectors, centroids, chunk)
        if np.array_equal(before, assignments):
            break
    return centroids, assignments


def _assign(vectors, centroids, chunk):
    """The nearest centroid of each vector, and its cosine."""
    assignments = np.empty(len(vectors), np.int64)
    cosines = np.empty(len(vectors), vectors.dtype)
    for begin in range(0, len(vectors), chunk):
        part = slice(begin, begin + chunk)
        scores = vectors[part] @ centroids.T
        assignments[part] = nearest = scores.argmax(axis=1)
        cosines[part] = np.take_along_axis(scores, nearest[:, None], axis=1)[:, 0]
    return assignments, cosines


def _fill_empty(assignments, cosines, k):
    """Gives each empty cluster the vector that is farthest from its centroid, in place."""
    counts = np.bincount(assignments, minlength=k)
    if counts.all():
        return
    empty = iter(np.flatnonzero(counts == 0))
    cluster = next(empty)
    for farthest in np.argsort(cosines, kind="stable"):
        if counts[assignments[farthest]] > 1:  # else its cluster would be the next empty one
            counts[assignments[farthest]] -= 1
            assignments[farthest], cosines[farthest] = cluster, 1.0
            cluster = next(empty, None)
            if cluster is None:
                return


def _means(vectors, assignments, k, chunk):
    """The normalized sum of each cluster's vectors; no cluster is empty."""
    sums = np.zeros([k, vectors.shape[1]])
    for begin in range(0, len(vectors), chunk):
        part = assignments[begin : begin + chunk]
        order = np.argsort(part, kind="stable")
        clusters, first = np.unique(part[order], return_index=True)
        rows = vectors[begin : begin + chunk][order]
        sums[clusters] += np.add.reduceat(rows, first, axis=0, dtype=np.float64)
    # If the vectors of a cluster cancel out, one of them becomes the centroid.
    lost = np.flatnonzero(np.linalg.norm(sums, axis=1) < 1e-6)
    for cluster in lost:
        sums[cluster] = vectors[np.argmax(assignments == cluster)]
    return _unit(sums).astype(vectors.dtype)


def _seeds(vectors, k, random):
    """k of the vectors, far from each other, by k-means++ on a sample."""
    count = min(len(vectors), SEEDING_SAMPLE * k)
    sample = vectors[np.sort(random.choice(len(vectors), count, replace=False))]
    chosen = [random.integers(count, size=1)]
    cosines = np.full(count, -1.0, vectors.dtype)
    left = k - 1
    for rounds in range(min(left, SEEDING_ROUNDS), 0, -1):
        np.maximum(cosines, (sample @ sample[chosen[-1]].T).max(axis=1), out=cosines)
        cosines[chosen[-1]] = 1.0
        chosen.append(_draw(1.0 - cosines.astype(np.float64), -(-left // rounds), random, chosen))
        left -= len(chosen[-1])
    return sample[np.concatenate(chosen)]


def _draw(distances, count, random, chosen):
    """Draws `count` new indices without replacement, in proportion to distances."""
    distances = np.maximum(distances, 0.0)
    distances[np.concatenate(chosen)] = 0.0
    if np.count_nonzero(distances) < count:  # the rest are copies of chosen vectors: take any
        distances = np.maximum(distances, np.finfo(np.float64).tiny)
        distances[np.concatenate(chosen)] = 0.0
    # The largest values of log(d) + Gumbel noise are a draw without replacement.
    with np.errstate(divide="ignore"):
        keys = np.log(distances) + random.gumbel(size=len(distances))
    return np.argpartition(-keys, count - 1)[:count]


def _unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _checked(vectors, k):
    vectors = np.asarray(vectors)
    if vectors.dtype != np.float64:
        vectors = vectors.astype(np.float32)
    if vectors.ndim != 2:
        raise ValueError(f"vectors must have shape [N, d]; received shape {vectors.shape}.")
    if not 1 <= k <= len(vectors):
        raise ValueError(
            f"k must be from 1 to {len(vectors)}, the number of vectors; received {k}."
        )
    lengths = np.linalg.norm(vectors, axis=1)
    wrong = np.flatnonzero(~((lengths > 0) & np.isfinite(lengths)))
    if wrong.size:
        raise ValueError(
            f"vectors must be finite and not 0; received {wrong.size} others of {len(vectors)}, "
            f"the first with index {wrong[0]} and length {lengths[wrong[0]]}."
        )
    return vectors


def _checked_start(start, shape, dtype):
    start = np.asarray(start, dtype)
    if list(start.shape) != shape:
        raise ValueError(f"start must have shape {shape}; received shape {start.shape}.")
    return start
