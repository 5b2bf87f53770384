"""Which images to label next: those that leave no image far from a chosen one."""

import numpy as np

from cl_keras.evaluation.checks import normalize, positive, vectors


def select(embeddings: np.ndarray, n: int, *, labeled: np.ndarray | None = None) -> np.ndarray:
    """The greedy k-center choice (Gonzalez 1985; for labels: Sener & Savarese 2018).

    Each choice is the image that is farthest, by cosine, from all that are chosen or labeled; the
    first, where nothing is labeled, is the one nearest to the mean. The largest distance of any
    image to a chosen one is at most twice what the best choice of n has.

    Args:
        embeddings: float `[m, d]`.
        n: how many to choose, at most the images that are not labeled.
        labeled: int `[k]`, rows that have a label already; default: none.

    Returns:
        int64 `[n]`, rows in the order in which to label them.

    Raises:
        ValueError: n out of range, or numbers that are not finite.
    """
    unit = normalize(vectors("embeddings", embeddings))
    taken = np.zeros(len(unit), bool)
    if labeled is not None:
        taken[np.asarray(labeled, np.int64)] = True
    free = int((~taken).sum())
    if positive("n", n) > free:
        raise ValueError(f"n must be at most the {free} images without a label; received {n}.")
    nearest = np.full(len(unit), -np.inf, np.float32)  # greatest cosine to what is taken
    for row in np.flatnonzero(taken).tolist():
        np.maximum(nearest, unit @ unit[row], out=nearest)
    chosen = []
    for _ in range(n):
        if taken.any():
            row = int(np.argmin(np.where(taken, np.inf, nearest)))
        else:
            row = int(np.argmax(unit @ unit.mean(axis=0)))
        taken[row] = True
        chosen.append(row)
        np.maximum(nearest, unit @ unit[row], out=nearest)
    return np.array(chosen, np.int64)
