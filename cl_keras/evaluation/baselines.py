"""Baselines without training: pixels, and whitened principal components of pixels.

Both are called like an encoder, from images `[b, h, w, c]` to vectors `[b, d]`.
"""

from typing import Any

import numpy as np
import tensorflow as tf
from tqdm.auto import tqdm

from cl_keras.data.image_batches import one_pass
from cl_keras.evaluation.checks import positive

MAX_SIDE = 64
"""Larger images are shrunk to this side in pixels."""

MAX_EXACT_WIDTH = 4096  # maximum number of pixels for the covariance of all images
SAMPLE = 2048  # number of images to sample if there are more pixels


def raw_pixels(images: Any) -> np.ndarray:
    """The flattened pixels, scaled to 0..1 but not centered.

    Args:
        images: `[b, h, w, c]` in 0..255. A side of more than 64 pixels is shrunk to 64 by averaging
            areas, so that the vectors are small enough to search.

    Returns:
        float32 `[b, d]`, d = min(h, 64)·min(w, 64)·c.
    """
    pixels = tf.cast(images, tf.float32)
    height, width = pixels.shape[1:3]
    if max(height, width) > MAX_SIDE:
        size = (min(height, MAX_SIDE), min(width, MAX_SIDE))
        pixels = tf.image.resize(pixels, size, method="area")
    return np.asarray(pixels).reshape(len(pixels), -1) / np.float32(255)


class WhitenedPCA:
    """Projects `raw_pixels` to the principal components of a training set, scaled to variance 1.

    Args:
        mean: float64 `[p]`, the mean image.
        components: float64 `[p, d]`, whitened, in order of decreasing variance.
    """

    def __init__(self, mean: np.ndarray, components: np.ndarray):
        self.mean = mean
        self.components = components

    def __call__(self, images: Any) -> np.ndarray:
        """Vectors float32 `[b, d]` of images `[b, h, w, c]` in 0..255.

        Raises:
            ValueError: images of another size than those it was fitted to.
        """
        pixels = raw_pixels(images)
        if pixels.shape[1] != len(self.mean):
            raise ValueError(
                f"Expected images with {len(self.mean)} values, to which PCA was fitted; received "
                f"{pixels.shape[1]}. Load both with the same image_size and channels."
            )
        return ((pixels - self.mean) @ self.components).astype(np.float32)


def pca_whitened(train: Any, *, dims: int = 128, progress: bool = True) -> WhitenedPCA:
    """Fits whitened principal components to the pixels of a training set, in one pass.

    It uses all images of up to 4,096 pixels, and a random sample of 2,048 larger ones.

    Args:
        train: images uint8 `[n, h, w, c]`, a source, or batches, as `features` takes them.
        dims: number of components, or fewer if the pixels span fewer; default: 128.
        progress: show a progress bar, on a terminal; default: True.

    Returns:
        `WhitenedPCA`, to be called like an encoder.

    Raises:
        ValueError: fewer than two images, only equal images, or dims < 1.
    """
    dims, rows, total, square = positive("dims", dims), 0, 0.0, 0.0
    stream, steps = one_pass(train)
    sample = _Sample(SAMPLE)
    for element in tqdm(
        stream, total=steps, desc="PCA", unit="batch", disable=None if progress else True
    ):
        pixels = raw_pixels(element["image"])
        rows += len(pixels)
        if pixels.shape[1] > MAX_EXACT_WIDTH:
            sample.add(pixels)
            continue
        pixels = pixels.astype(np.float64)
        total = total + pixels.sum(axis=0)
        square = square + pixels.T @ pixels
    if rows < 2:
        raise ValueError(f"PCA needs at least 2 images; received {rows}.")
    if sample.rows:
        mean, variances, directions = _components_of(np.stack(sample.rows).astype(np.float64))
    else:
        mean = total / rows
        covariance = (square - rows * np.outer(mean, mean)) / (rows - 1)
        variances, directions = np.linalg.eigh(covariance)  # ascending
    variances, directions = variances[::-1][:dims], directions[:, ::-1][:, :dims]
    varied = variances > 1e-9 * max(variances[0], 1e-9)
    if not varied.any():
        raise ValueError("PCA needs images that differ; all received images are the same.")
    return WhitenedPCA(mean, directions[:, varied] / np.sqrt(variances[varied]))


def _components_of(pixels):
    """Mean, variances (ascending) and directions of few rows of many pixels, by the Gram matrix."""
    mean = pixels.mean(axis=0)
    centered = pixels - mean
    values, vectors = np.linalg.eigh(centered @ centered.T)  # [n, n]
    values, vectors = np.maximum(values[1:], 0), vectors[:, 1:]  # n - 1 directions
    directions = centered.T @ vectors / np.sqrt(np.maximum(values, 1e-30))
    return mean, values / (len(pixels) - 1), directions


class _Sample:
    """A fixed number of rows of a stream, drawn uniformly (reservoir sampling)."""

    def __init__(self, size: int):
        self.rows: list[np.ndarray] = []
        self._size, self._seen = size, 0
        self._generator = np.random.default_rng(0)

    def add(self, rows: np.ndarray) -> None:
        for row in rows:
            self._seen += 1
            if len(self.rows) < self._size:
                self.rows.append(row)
            elif (at := self._generator.integers(self._seen)) < self._size:
                self.rows[at] = row
