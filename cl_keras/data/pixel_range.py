"""Recognizes pixels on another scale than 0 … 255, and tells how to convert them."""

from __future__ import annotations

import warnings

import numpy as np
import tensorflow as tf

SAMPLED = 2**16  # values to look at

AS_UINT8 = {
    "0 … 1": "(images * 255).round().astype('uint8')",
    "-1 … 1": "((images + 1) * 127.5).round().astype('uint8')",
    "0 … 255": "images.round().astype('uint8')",
    "0 … 65535": "(images / 257).round().astype('uint8')",
}
"""From a range of values to code that converts them to uint8."""


def value_range(values: np.ndarray) -> str | None:
    """The range that the values of images seem to have: a key of `AS_UINT8`, or None.

    Args:
        values: numbers; if there are many, an evenly spread sample is used.
    """
    flat = values.reshape(-1)
    flat = flat if flat.size <= SAMPLED else flat[:: -(-flat.size // SAMPLED)]
    if not flat.size or flat.dtype.kind not in "fiub" or not np.isfinite(flat).all():
        return None
    low, high = float(flat.min()), float(flat.max())
    if flat.dtype.kind in "iu":
        return "0 … 255" if 0 <= low and high <= 255 else "0 … 65535" if low >= 0 else None
    if low >= 0:
        return "0 … 1" if high <= 1 else "0 … 255" if high <= 255.5 else None
    return "-1 … 1" if low >= -1 and high <= 1 else None


def conversion(images: np.ndarray) -> str:
    """A sentence that says how to convert an array of images to uint8."""
    found = value_range(images)
    if found is None:
        return (
            "Its values are in none of the usual ranges (0 … 1, -1 … 1, 0 … 255): scale them to "
            "0 … 255, and then use images.round().astype('uint8')."
        )
    return f"If its values are in {found}, convert them: {AS_UINT8[found]}."


def warn_of_scale(images: np.ndarray) -> None:
    """Warns if a batch of floats does not hold pixels of 0 … 255.

    Args:
        images: numbers `[b, h, w, c]`.
    """
    if images.dtype.kind != "f" or not images.size:
        return
    found = value_range(images)
    if found in ("0 … 1", "-1 … 1") and float(images.max()) > 0:
        scaled = "images * 255" if found == "0 … 1" else "(images + 1) * 127.5"
        warnings.warn(
            f"the images have values in {found} but are taken as pixels of 0 … 255, so all will "
            f"look nearly black. Give {scaled}, or leave out the rescaling.",
            stacklevel=2,
        )


def watch_scale(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """The same dataset, which warns once if its first images are not pixels of 0 … 255.

    Args:
        dataset: of images, or of dicts or tuples that hold them; uint8 images, and those of a
            tf.data service, are not checked.
    """
    floats = _floats(dataset.element_spec)
    if not floats or getattr(dataset, "service", None):
        return dataset
    pending = [True]

    def look(images):
        if pending:
            pending.clear()
            warn_of_scale(images)
        return np.int64(0)

    @tf.autograph.experimental.do_not_convert
    def watched(*element):
        element = element if len(element) > 1 else element[0]
        seen = tf.numpy_function(look, [_floats(element)[0]], tf.int64)
        with tf.control_dependencies([seen]):
            return tf.nest.map_structure(tf.identity, element)

    return dataset.map(watched)


def _floats(element) -> list:
    """The floating images of an element or of its spec."""
    element = element[0] if isinstance(element, tuple) else element
    images = element.get("image") if isinstance(element, dict) else element
    if images is None or not hasattr(images, "dtype"):
        return []
    return [images] if images.dtype.is_floating and images.shape.rank == 4 else []
