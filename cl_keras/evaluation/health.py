"""Metrics of whether embeddings make use of their space, or have collapsed."""

from typing import Any

import numpy as np

from cl_keras.evaluation.checks import normalize, vectors

_BLOCK = 1024  # rows per side of a block of pairs
_ROWS = 10_000  # maximum number of rows for uniformity


def alignment(a: np.ndarray, b: np.ndarray) -> float:
    """Mean squared distance of positive pairs, L2-normalized (Wang & Isola 2020, α = 2).

    Args:
        a: float `[n, d]`, one view of each image.
        b: float `[n, d]`, another view of the same images.

    Returns:
        From 0 (all pairs equal) to 4 (all opposite); 2 for orthogonal pairs.

    Raises:
        ValueError: different shapes, or numbers that are not finite.
    """
    a, b = normalize(vectors("a", a)), vectors("b", b)
    if a.shape != b.shape:
        raise ValueError(f"Expected pairs of the same shape; received {a.shape} and {b.shape}.")
    difference = a.astype(np.float64) - normalize(b)
    return float(np.mean(np.sum(difference**2, axis=1)))


def uniformity(a: np.ndarray) -> float:
    """`log mean exp(-2·‖x_i - x_j‖²)` over pairs i < j, L2-normalized (Wang & Isola 2020, t = 2).

    Args:
        a: float `[n, d]`, n ≥ 2. If there are more than 10,000 rows, 10,000 evenly spaced ones are
            used.

    Returns:
        From -8 (the lower bound, all pairs opposite) to 0 (collapsed to one point); about -4 for an
        even spread over a sphere of many dimensions.

    Raises:
        ValueError: fewer than two rows, or numbers that are not finite.
    """
    a = vectors("a", a)
    if len(a) < 2:
        raise ValueError(f"Uniformity needs pairs, so at least 2 rows; received {len(a)}.")
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


def effective_rank(a: np.ndarray) -> float:
    """The exponential of the entropy of the normalized singular values (Roy & Vetterli 2007).

    Args:
        a: float `[n, d]`, which is centered first.

    Returns:
        From 1 (all on a line) to d (all directions alike); 0 if all rows are equal.

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


def health(features_a: np.ndarray, features_b: np.ndarray | None = None) -> dict[str, Any]:
    """Metrics that show a collapse.

    Args:
        features_a: float `[n, d]`, n ≥ 2.
        features_b: float `[n, d]`, another view of the same images; default: None.

    Returns:
        A dictionary of numbers:
        `uniformity`, `effective_rank`: see these functions;
        `std_mean`, `std_min`: mean and smallest standard deviation of the dimensions of the
            L2-normalized rows;
        `std_isotropic`: 1/√d, the value of both if no direction is preferred;
        `alignment`: if `features_b` is given;
        `protocol`: rows, width, and the number of rows for uniformity.

    Raises:
        ValueError: as in the functions above.
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
