"""What no training at all gives: pixels, and whitened principal components of pixels.

Both are called as an encoder is, from images [B, H, W, C] to vectors [B, D].
"""

import numpy as np
import tensorflow as tf
from tqdm.auto import tqdm

from cl_keras.evaluation.checks import positive
from cl_keras.evaluation.features import image_batches

_SIDE = 32  # larger images are shrunk to this many pixels a side


def raw_pixels(images):
    """The pixels themselves, flattened, neither centered nor scaled beyond 0..1.

    Args:
        images: [B, H, W, C] in 0..255. A side of more than 32 pixels is shrunk to 32 by averaging
            areas, so that the vectors stay of a size that can be searched.

    Returns:
        float32 [B, D], D = min(H, 32)·min(W, 32)·C.
    """
    pixels = tf.cast(images, tf.float32)
    height, width = pixels.shape[1:3]
    if max(height, width) > _SIDE:
        pixels = tf.image.resize(pixels, (min(height, _SIDE), min(width, _SIDE)), method="area")
    return np.asarray(pixels).reshape(len(pixels), -1) / np.float32(255)


class WhitenedPCA:
    """Projects `raw_pixels` on principal components of a training set, each to variance 1.

    Attributes:
        mean: float64 [P], the mean picture.
        components: float64 [P, D], whitened; the greatest variance first.
    """

    def __init__(self, mean, components):
        self.mean = mean
        self.components = components

    def __call__(self, images):
        """Images [B, H, W, C] in 0..255 to vectors float32 [B, D].

        Raises:
            ValueError: images of another size than those it was fitted to.
        """
        pixels = raw_pixels(images)
        if pixels.shape[1] != len(self.mean):
            raise ValueError(
                f"Expected images that flatten to {len(self.mean)} pixels, as those PCA was fitted "
                f"to; received {pixels.shape[1]}. Load both with one image_size and channels."
            )
        return ((pixels - self.mean) @ self.components).astype(np.float32)


def pca_whitened(train, *, dims=128, progress=True):
    """Fits whitened principal components to the pixels of a training set, streamed once.

    Args:
        train: images uint8 [N, H, W, C], a source, or batches, as `features` takes them.
        dims: how many components; fewer where the pixels span fewer.
        progress: show a progress bar.

    Returns:
        `WhitenedPCA`, to be called as an encoder.

    Raises:
        ValueError: fewer than two images, images all alike, or dims < 1.
    """
    dims, rows, total, square = positive("dims", dims), 0, 0.0, 0.0
    stream, steps = image_batches(train)
    for element in tqdm(stream, total=steps, desc="PCA", unit="batch", disable=not progress):
        pixels = raw_pixels(element["image"]).astype(np.float64)
        rows, total = rows + len(pixels), total + pixels.sum(axis=0)
        square = square + pixels.T @ pixels
    if rows < 2:
        raise ValueError(f"PCA needs at least 2 images; received {rows}.")
    mean = total / rows
    covariance = (square - rows * np.outer(mean, mean)) / (rows - 1)
    variances, directions = np.linalg.eigh(covariance)  # ascending
    variances, directions = variances[::-1][:dims], directions[:, ::-1][:, :dims]
    varied = variances > 1e-9 * max(variances[0], 1e-9)
    if not varied.any():
        raise ValueError("PCA needs images that differ; received images all alike.")
    return WhitenedPCA(mean, directions[:, varied] / np.sqrt(variances[varied]))
