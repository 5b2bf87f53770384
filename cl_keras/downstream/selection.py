"""Selection of images to label, such that every image is near a chosen one."""

import numpy as np

from cl_keras.evaluation.checks import normalize, positive, vectors


def select(embeddings: np.ndarray, n: int, *, labeled: np.ndarray | None = None) -> np.ndarray:
    """Greedy k-center selection (Gonzalez 1985; for labels: Sener & Savarese 2018).

    Each chosen image is the one farthest, by cosine, from all chosen and labeled images. If none is
    labeled, the first is the one nearest to the mean. The largest distance of an image from the
    chosen ones is at most twice that of the best n images.

    Args:
        embeddings: float `[m, d]`.
        n: number of images to choose, at most all unlabeled ones.
        labeled: int `[k]`, rows that are already labeled; default: None.

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
        raise ValueError(f"n must be at most {free}, the unlabeled images; received {n}.")
    nearest = np.full(len(unit), -np.inf, np.float32)  # largest cosine to the taken rows
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
