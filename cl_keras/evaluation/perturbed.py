"""Perturbs images, and tests whether the encoder still recognizes them."""

import functools
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from cl_keras.data.image_batches import one_pass
from cl_keras.evaluation.checks import positive, vectors
from cl_keras.evaluation.features import class_names_of
from cl_keras.evaluation.knn import neighbors
from cl_keras.views import RandomViews, View

PERTURBATION = {
    "crop_area": (0.4, 1.0),
    "crop_ratio": (1.0, 1.0),
    "flip": 0.5,
    "brightness": 0.3,
    "contrast": 0.3,
    "saturation": 0.0,
    "hue": 0.0,
    "color_probability": 1.0,
    "grayscale_probability": 0.0,
    "blur_probability": 0.0,
}
"""The perturbation of `perturb`, as arguments of `views.View`."""

_STEP = 2**31 - 1  # no training run gets this far, so its views differ from those of the test


def perturb(
    images: np.ndarray, *, seed: int = 0, first_row: int = 0, chunk: int = 256
) -> np.ndarray:
    """One perturbed version of each image.

    A square crop of 40–100 % of the area, resized to the full size; flipped half of the time;
    brightness and contrast changed by up to ±30 %. Hue, saturation and sharpness stay.

    Args:
        images: uint8 `[n, s, s, c]`, square, c 1 or 3.
        seed: determines the perturbation of an image, together with its row; default: 0.
        first_row: row of the first image, if `images` are part of a longer sequence; default: 0.
        chunk: number of images at a time, without effect on the result; default: 256.

    Returns:
        uint8 `[n, s, s, c]`.

    Raises:
        ValueError: images that are not square, or of another form.
    """
    images = np.asarray(images)
    if images.ndim != 4 or images.dtype != np.uint8 or images.shape[1] != images.shape[2]:
        raise ValueError(
            "Expected square images, uint8 [n, s, s, c]; received "
            f"{images.dtype} {images.shape}. Load them with image_size=…"
        )
    chunk, blocks = positive("chunk", chunk), []
    views = _views(images.shape[1])
    for start in range(0, len(images), chunk):
        block = images[start : start + chunk]
        rows = len(block)
        if first_row + start > 0:  # a smaller last chunk is padded, to avoid compiling a new shape
            block = np.pad(block, [(0, max(0, chunk - rows)), (0, 0), (0, 0), (0, 0)])
        view, _ = views(block, seed=seed, step=_STEP, first_row=first_row + start)
        blocks.append(tf.cast(tf.round(view[:rows]), tf.uint8).numpy())
    return np.concatenate(blocks) if blocks else images.copy()


@functools.cache
def _views(image_size):
    return RandomViews([View(image_size, **PERTURBATION)] * 2)


class Perturbed:
    """Perturbed batches for `features`, in the same order, and the same in every pass.

    Args:
        batches: square images, as `features` takes them.
        seed: see `perturb`; default: 0.
    """

    def __init__(self, batches: Any, seed: int = 0):
        self._images, self._seed = batches, seed
        self.class_names = class_names_of(batches)

    def __length_hint__(self) -> int:
        return one_pass(self._images)[1] or 0

    def __iter__(self) -> Iterator[dict]:
        first = chunk = 0
        seen: set[int] = set()
        for element in one_pass(self._images)[0]:
            images = np.asarray(element["image"])
            chunk = max(chunk, len(images))
            perturbed = perturb(images, seed=self._seed, first_row=first, chunk=chunk)
            first += len(images)
            element = {**element, "image": perturbed}
            if "index" in element:  # a stand-in for a broken file is perturbed differently: drop it
                element = _unseen(element, seen)
            if len(element["image"]):
                yield element


def _unseen(element, seen):
    """The rows of a batch whose index has not been seen, which are then added to `seen`."""
    keep = []
    for row, index in enumerate(np.asarray(element["index"]).tolist()):
        if index not in seen:
            seen.add(index)
            keep.append(row)
    return {key: np.asarray(value)[keep] for key, value in element.items()}


def retrieval_top1(
    originals: np.ndarray, perturbed: np.ndarray, *, chunk: int | None = None
) -> dict:
    """Instance retrieval: how often the nearest original of a perturbed image is its own.

    Args:
        originals: float `[n, d]`, vectors of the images.
        perturbed: float `[n, d]`, vectors of their perturbed versions, in the same order.
        chunk: see `neighbors`; default: None.

    Returns:
        `{"top1": share, "protocol": {…}}`; chance is 1/n.

    Raises:
        ValueError: different shapes, or numbers that are not finite.
    """
    hits = retrieval_hits(originals, perturbed, chunk=chunk)
    protocol = {
        "method": "nearest original of each perturbed image, cosine",
        "originals": len(hits),
        "chance": 1 / len(hits),
    }
    return {"top1": float(hits.mean()), "protocol": protocol}


def retrieval_hits(
    originals: np.ndarray, perturbed: np.ndarray, *, chunk: int | None = None
) -> np.ndarray:
    """Whether each perturbed image is nearest to its own original: bool `[n]`."""
    originals = vectors("originals", originals)
    perturbed = vectors("perturbed", perturbed, width=originals.shape[1])
    if len(originals) != len(perturbed):
        raise ValueError(
            f"Expected one perturbed row per original; received {len(perturbed)} perturbed rows "
            f"for {len(originals)} originals."
        )
    nearest, _ = neighbors(originals, perturbed, 1, chunk=chunk)
    return nearest[:, 0] == np.arange(len(originals))
