"""Near-duplicates: images that are the same but for size, compression or brightness."""

import dataclasses
from typing import Any

import numpy as np
from PIL import Image

from cl_keras.evaluation import neighbors
from cl_keras.evaluation.features import image_batches

SIDE = 32
"""Side of the gray pictures that are compared."""

THRESHOLD = 0.995
"""Correlation from which two pictures count as the same."""

MAX_PER_IMAGE = 8  # duplicates of one image that are looked for
_FLAT = 1.0  # deviation in gray levels below which a picture has nothing to compare


@dataclasses.dataclass(frozen=True)
class Pair:
    """Two images that are nearly the same.

    Attributes:
        first: index of the image in the first set.
        second: index in the second set, or in the first where there is no second.
        correlation: of their gray pictures, from `THRESHOLD` to 1.
    """

    first: int
    second: int
    correlation: float


def describe(images: Any) -> np.ndarray:
    """Gray pictures of 32 × 32 with mean 0 and length 1, whose products are correlations.

    Args:
        images: uint8 `[n, h, w, c]`, a source, or batches, as `evaluation.features` takes them.

    Returns:
        float32 `[n, 1024]`; zeros for an image without any contrast.
    """
    rows = []
    for element in image_batches(images)[0]:
        for image in np.asarray(element["image"]):
            gray = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).convert("L")
            pixels = np.asarray(gray.resize((SIDE, SIDE), Image.Resampling.BOX), np.float32)
            pixels = pixels.ravel() - pixels.mean()
            length = np.linalg.norm(pixels)
            rows.append(pixels / length if length > _FLAT * SIDE else np.zeros_like(pixels))
    return np.stack(rows)


def duplicates(first: Any, second: Any = None, *, threshold: float = THRESHOLD) -> list[Pair]:
    """Pairs of near-duplicates within one set, or between two.

    Args:
        first: images in any form that `describe` takes, or what it returned.
        second: likewise; default: pairs within `first`.
        threshold: correlation from which a pair counts, above 0 and at most 1.

    Returns:
        The pairs, the most alike first. Of each image in `second` (or `first`) at most the eight
        most alike are found.

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
    """Numbers the images so that near-duplicates, also of each other, have one number.

    Args:
        pairs: of `duplicates` within one set.
        count: images in the set.

    Returns:
        int64 `[count]`, the least index of each image's group, as `data.split` takes it.
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
