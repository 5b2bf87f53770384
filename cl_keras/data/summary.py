"""Summarizes a set of images from a sample."""

from __future__ import annotations

import collections
import dataclasses
import re
import time

import numpy as np

from cl_keras.data.labels import UNLABELED

GRAY_SPREAD = 8  # maximum difference between the channels of a gray pixel
GRAY_SHARE = 0.99  # of the pixels of a gray image
SIDE = 64  # pixels to which images are shrunk to check their colors


@dataclasses.dataclass(frozen=True)
class Summary:
    """A summary of a set of images.

    Attributes:
        num_images: N.
        sampled: number of images that were looked at.
        widths, heights: (smallest, median, largest) of the sampled images, in pixels, upright.
        aspect: (smallest, median, largest) ratio of width to height.
        gray: whether all sampled images are gray, even if stored in color.
        classes: number of images of each class, by its name or number; empty without labels.
        unlabeled: number of images without a label.
        skipped: number of files that are left out or replaced, by reason.
    """

    num_images: int
    sampled: int
    widths: tuple[int, int, int]
    heights: tuple[int, int, int]
    aspect: tuple[float, float, float]
    gray: bool
    classes: dict[str, int]
    unlabeled: int
    skipped: dict[str, int]

    def __str__(self):
        width, height = (_span(values) for values in (self.widths, self.heights))
        lines = [f"{self.num_images} images, {width} × {height} pixels, "]
        lines[0] += "gray" if self.gray else "color"
        if self.classes:
            counts = self.classes.values()
            lines.append(f"{len(counts)} classes of {_span((min(counts), 0, max(counts)))} images")
            lines[-1] += f", {self.unlabeled} without a label" * (self.unlabeled > 0)
        lines += [f"{count} files: {reason}" for reason, count in self.skipped.items()]
        return "\n".join(lines)


def summarize(source, *, sample: int = 256, seconds: float = 2.0) -> Summary:
    """Looks at a sample of images, evenly spread over the source.

    Args:
        source: `Source`.
        sample: maximum number of images to look at; default: 256.
        seconds: time limit, after at least one image; default: 2.
    """
    count = min(sample, len(source))
    spread = np.unique(np.linspace(0, len(source) - 1, count).astype(np.int64))
    # In an order whose first images are evenly spread too, since the time may run out.
    spread = spread[np.argsort(np.arange(len(spread)) * 0.6180339887 % 1)]
    until, sizes, gray = time.monotonic() + seconds, [], True
    for size, pixels in source.glances(spread.tolist(), SIDE):
        sizes.append(size)
        gray = gray and is_gray(pixels)
        if time.monotonic() > until:
            break
    heights, widths = (np.array(side) for side in zip(*sizes, strict=True))
    classes, unlabeled = _count_classes(source)
    return Summary(
        len(source),
        len(sizes),
        _three(widths, int),
        _three(heights, int),
        _three(widths / heights, float),
        gray,
        classes,
        unlabeled,
        _reasons(source.skipped),
    )


def is_gray(pixels: np.ndarray) -> bool:
    """Whether an image has no color, even if stored with three channels.

    Args:
        pixels: uint8 `[h, w, 1 or 3]`.
    """
    if pixels.shape[-1] == 1:
        return True
    spread = pixels.max(axis=-1).astype(np.int16) - pixels.min(axis=-1)
    return float((spread <= GRAY_SPREAD).mean()) >= GRAY_SHARE


def _three(values, kind):
    return kind(values.min()), kind(np.median(values)), kind(values.max())


def _span(values) -> str:
    low, _, high = values
    return f"{low}" if low == high else f"{low}–{high}"


def _count_classes(source) -> tuple[dict[str, int], int]:
    if not source.has_labels:
        return {}, 0
    numbers, counts = np.unique(source.labels, return_counts=True)
    found = dict(zip(numbers.tolist(), counts.tolist(), strict=True))
    unlabeled = found.pop(UNLABELED, 0)
    names = source.class_names
    if names is None:
        return {str(number): count for number, count in found.items()}, unlabeled
    return {name: found.get(number, 0) for number, name in enumerate(names)}, unlabeled


def _reasons(skipped) -> dict[str, int]:
    """Counts by reason, with the numbers in it masked, since they differ from file to file."""
    counts = collections.Counter(re.sub(r"\d+", "…", reason) for _, reason in skipped)
    return dict(counts.most_common())
