"""Near-duplicates, i.e. images that differ only in size, compression or brightness."""

import dataclasses
from typing import Any

import numpy as np
from PIL import Image

from cl_keras.data.image_batches import one_pass
from cl_keras.evaluation import neighbors

SIDE = 32
"""Side of the gray pictures that are compared."""

THRESHOLD = 0.995
"""Minimum correlation of near-duplicates."""

MAX_PER_IMAGE = 8  # number of duplicates of an image that are found
_FLAT = 1.0  # minimum standard deviation in gray levels of a picture that can be compared


@dataclasses.dataclass(frozen=True)
class Pair:
    """Two images that are nearly the same.

    Attributes:
        first: index of the image in the first set.
        second: index in the second set, or in the first if there is only one.
        correlation: correlation of their gray pictures, up to 1.
    """

    first: int
    second: int
    correlation: float


def describe(images: Any) -> np.ndarray:
    """Gray pictures of 32 × 32 pixels with mean 0 and length 1; their products are correlations.

    Args:
        images: uint8 `[n, h, w, c]`, a source, or batches, as for `evaluation.features`.

    Returns:
        float32 `[n, 1024]`; zeros for an image without contrast.
    """
    rows = []
    for element in one_pass(images)[0]:
        for image in np.asarray(element["image"]):
            gray = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).convert("L")
            pixels = np.asarray(gray.resize((SIDE, SIDE), Image.Resampling.BOX), np.float32)
            pixels = pixels.ravel() - pixels.mean()
            length = np.linalg.norm(pixels)
            rows.append(pixels / length if length > _FLAT * SIDE else np.zeros_like(pixels))
    return np.stack(rows)


def duplicates(first: Any, second: Any = None, *, threshold: float = THRESHOLD) -> list[Pair]:
    """Pairs of near-duplicates within a set, or between two sets.

    Args:
        first: images in any form that `describe` takes, or its result.
        second: likewise; default: None, pairs within `first`.
        threshold: minimum correlation of a pair, above 0 and at most 1; default: 0.995.

    Returns:
        The pairs, in order of decreasing correlation; at most eight for each image in `second` (or
        `first`).

    Raises:
        ValueError: a threshold out of range.
    """
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold must be above 0 and at most 1; received {threshold!r}.")
    bank = _described(first)
    queries = bank if second is None else _described(second)
    within = second is None
    count = min(len(bank), MAX_PER_IMAGE + within)
    rows, correlations = neighbors(bank, queries, count)
    found = []
    for query, (near, scores) in enumerate(zip(rows, correlations, strict=True)):
        for row, score in zip(near, scores, strict=True):
            if score >= threshold - 1e-6 and not (within and row >= query):
                found.append(Pair(int(row), query, float(min(score, 1.0))))
    return sorted(found, key=lambda pair: -pair.correlation)


def _described(images):
    is_described = isinstance(images, np.ndarray) and images.ndim == 2
    return images if is_described else describe(images)


def groups(pairs: list[Pair], count: int) -> np.ndarray:
    """Groups images that are connected by pairs of near-duplicates.

    Args:
        pairs: result of `duplicates` for one set.
        count: number of images in the set.

    Returns:
        int64 `[count]`, the smallest index of each image's group, as for `data.split`.
    """
    parent = np.arange(count)

    def root(row):
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    for pair in pairs:
        first, second = sorted((root(pair.first), root(pair.second)))
        parent[second] = first
    return np.array([root(row) for row in range(count)], np.int64)
