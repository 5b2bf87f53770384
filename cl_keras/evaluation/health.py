"""Whether embeddings make use of their space, or have collapsed."""

import numpy as np

from cl_keras.evaluation.checks import normalize, vectors

_BLOCK = 1024  # rows a side of a block of pairs
_ROWS = 10_000  # rows that uniformity looks at


def alignment(a, b):
    """Mean squared distance of positive pairs, L2-normalized (Wang & Isola 2020, α = 2).

    Args:
        a: float [N, D], a view of each image.
        b: float [N, D], another view of the same images.

    Returns:
        From 0 (every pair in one place) to 4 (opposite); 2 for pairs at right angles.

    Raises:
        ValueError: shapes that differ, or numbers that are not finite.
    """
    a, b = normalize(vectors("a", a)), vectors("b", b)
    if a.shape != b.shape:
        raise ValueError(f"Expected pairs of one shape; received {a.shape} and {b.shape}.")
    difference = a.astype(np.float64) - normalize(b)
    return float(np.mean(np.sum(difference**2, axis=1)))


def uniformity(a):
    """`log mean exp(-2·‖x_i - x_j‖²)` over pairs i < j, L2-normalized (Wang & Isola 2020, t = 2).

    Args:
        a: float [N, D], N ≥ 2. Of more than 10,000 rows, 10,000 evenly spaced ones are taken.

    Returns:
        From -8 (its lower bound, all pairs opposite) to 0 (collapsed to one point); about -4 for
        an even spread over a sphere of many dimensions.

    Raises:
        ValueError: fewer than two rows, or numbers that are not finite.
    """
    a = vectors("a", a)
    if len(a) < 2:
        raise ValueError(f"Uniformity is of pairs and needs at least 2 rows; received {len(a)}.")
    if len(a) > _ROWS:
        a = a[np.linspace(0, len(a) - 1, _ROWS).astype(int)]
    a, total = normalize(a), 0.0
    squares = np.sum(a * a, axis=1)  # 1, or 0 for a zero row
    for i in range(0, len(a), _BLOCK):
        for j in range(i, len(a), _BLOCK):
            x, y = a[i : i + _BLOCK], a[j : j + _BLOCK]
            sums = squares[i : i + _BLOCK, None] + squares[None, j : j + _BLOCK]
            kernel = np.exp(-2 * (sums - 2 * x @ y.T))
            kernel = np.triu(kernel, 1) if i == j else kernel
            total += float(kernel.sum(dtype=np.float64))
    return float(np.log(total / (len(a) * (len(a) - 1) / 2)))


def effective_rank(a):
    """The exponential of the entropy of the normalized singular values (Roy & Vetterli 2007).

    Args:
        a: float [N, D]; centered first.

    Returns:
        From 1 (all on a line) to D (all directions alike); 0 where all rows are one point.

    Raises:
        ValueError: not a matrix, or numbers that are not finite.
    """
    a = vectors("a", a)
    if not np.ptp(a, axis=0).any():
        return 0.0
    centered = a - a.mean(axis=0, dtype=np.float64)
    values = np.sqrt(np.clip(np.linalg.eigvalsh(centered.T @ centered), 0, None))
    shares = values[values > 0] / values.sum()
    return float(np.exp(-np.sum(shares * np.log(shares))))


def health(features_a, features_b=None):
    """The measures by which a collapse shows.

    Args:
        features_a: float [N, D], N ≥ 2.
        features_b: float [N, D], another view of the same images, or None.

    Returns:
        A dictionary of numbers:
        `uniformity`, `effective_rank`: see these functions;
        `std_mean`, `std_min`: mean and least deviation of a dimension of the L2-normalized rows;
        `std_isotropic`: 1/√D, what both are where no direction is preferred;
        `alignment`: where `features_b` is given;
        `protocol`: rows, width, and the rows that uniformity took.

    Raises:
        ValueError: as the functions above.
    """
    a = vectors("features_a", features_a)
    std = normalize(a).std(axis=0, dtype=np.float64)
    found = {
        "uniformity": uniformity(a),
        "effective_rank": effective_rank(a),
        "std_mean": float(std.mean()),
        "std_min": float(std.min()),
        "std_isotropic": float(1 / np.sqrt(a.shape[1])),
        "protocol": {
            "rows": len(a),
            "width": a.shape[1],
            "uniformity_rows": min(len(a), _ROWS),
            "normalized": "L2 (effective rank: centered, not normalized)",
        },
    }
    if features_b is not None:
        found["alignment"] = alignment(a, features_b)
    return found
