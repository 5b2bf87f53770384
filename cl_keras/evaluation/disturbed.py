"""Does the encoder know an image again when it has been disturbed?"""

import functools

import numpy as np
import tensorflow as tf

from cl_keras.evaluation.checks import positive, vectors
from cl_keras.evaluation.knn import neighbours
from cl_keras.views import TwoViews

DISTURBANCE = {
    "crop_area": (0.4, 1.0),
    "crop_ratio": (1.0, 1.0),
    "flip": 0.5,
    "brightness": 0.3,
    "contrast": 0.3,
    "saturation": 0.0,
    "hue": 0.0,
    "color_probability": 1.0,
    "grey_probability": 0.0,
    "blur_probability": 0.0,
}
"""What `disturb` does to an image, as arguments of `TwoViews`."""

_STEP = 2**31 - 1  # no training run gets so far: its views are never those of the test


def disturb(images, *, seed=0, first_row=0, chunk=256):
    """One disturbed version of each image.

    A square crop of 40–100 % of its area, brought back to size; flipped half of the time;
    brightness and contrast changed by up to ±30 %. Hue, saturation and sharpness stay.

    Args:
        images: uint8 [N, S, S, C], square, C 1 or 3.
        seed: an image's disturbance is a pure function of the seed and its row.
        first_row: the row of the first image, where `images` are part of a longer sequence.
        chunk: images at a time; it does not change the result.

    Returns:
        uint8 [N, S, S, C].

    Raises:
        ValueError: images that are not square, or of another form.
    """
    images = np.asarray(images)
    if images.ndim != 4 or images.dtype != np.uint8 or images.shape[1] != images.shape[2]:
        raise ValueError(
            "Expected square images, uint8 [N, S, S, C]; received "
            f"{images.dtype} {images.shape}. Load them with image_size=…"
        )
    chunk, parts = positive("chunk", chunk), []
    views = _views(images.shape[1])
    for start in range(0, len(images), chunk):
        part = images[start : start + chunk]
        rows = len(part)
        if first_row + start > 0:  # a last, partial chunk is filled up: no new shape to compile
            part = np.pad(part, [(0, max(0, chunk - rows)), (0, 0), (0, 0), (0, 0)])
        view, _ = views(part, seed=seed, step=_STEP, first_row=first_row + start)
        parts.append(tf.cast(tf.round(view[:rows]), tf.uint8).numpy())
    return np.concatenate(parts) if parts else images.copy()


@functools.cache
def _views(image_size):
    return TwoViews(image_size, **DISTURBANCE)


def find_original(originals, disturbed, *, chunk=None):
    """How often the original nearest to a disturbed image (by cosine) is its own.

    Args:
        originals: float [N, D], vectors of the images.
        disturbed: float [N, D], vectors of their disturbed versions, in the same order.
        chunk: see `neighbours`.

    Returns:
        `{"top1": share, "protocol": {…}}`; chance is 1/N.

    Raises:
        ValueError: shapes that differ, or numbers that are not finite.
    """
    originals = vectors("originals", originals)
    disturbed = vectors("disturbed", disturbed, width=originals.shape[1])
    if len(originals) != len(disturbed):
        raise ValueError(
            f"Expected one disturbed row per original; received {len(disturbed)} and "
            f"{len(originals)} rows."
        )
    nearest, _ = neighbours(originals, disturbed, 1, chunk=chunk)
    hits = nearest[:, 0] == np.arange(len(originals))
    protocol = {
        "method": "nearest original of each disturbed image, cosine",
        "originals": len(originals),
        "chance": 1 / len(originals),
    }
    return {"top1": float(hits.mean()), "protocol": protocol}
