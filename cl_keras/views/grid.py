"""A picture of the views that the encoder sees."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from cl_keras.views.patches import tiles


def view_grid(images: np.ndarray, views: Callable, *, draws: int = 1, seed: int = 0) -> np.ndarray:
    """Each image and its views, side by side.

    Args:
        images: uint8 `[n, H, W, C]`.
        views: a callable that makes views of images. It may return a tensor, or tuples and dicts of
            tensors: views `[n, h, w, C]` are resized, patches `[n, p, h, w, C]` are laid side by
            side first, and everything else, such as labels, is left out.
        draws: number of draws, each of which gives one column per view; default: 1.
        seed: of the draws; default: 0.

    Returns:
        uint8 `[n, 1 + draws · views, S, S, C]`, where S is the largest side of a view; the first
        column is the image itself. `report.image_grid` makes a picture of it.

    Raises:
        ValueError: if the views hold no images.
    """
    images = tf.convert_to_tensor(images)
    drawn = [_pictures(views(images, seed=seed, step=step), images) for step in range(draws)]
    columns = [picture for pictures in drawn for picture in pictures]
    if not columns:
        raise ValueError(
            f"views must give images with {images.shape[-1]} channels, as they get; received "
            f"{views!r}, which gives none."
        )
    side = max(max(column.shape[1:3]) for column in columns)
    resized = [tf.image.resize(c, [side, side], antialias=True) for c in [images, *columns]]
    return tf.cast(tf.round(tf.stack(resized, axis=1)), tf.uint8).numpy()


def _pictures(views: Any, images: tf.Tensor) -> list[tf.Tensor]:
    """The tensors of a structure that are pictures of the images; patches are laid side by side."""
    pictures = []
    for tensor in tf.nest.flatten(views):
        shape = tf.convert_to_tensor(tensor).shape
        if shape.rank in (4, 5) and shape[0] == images.shape[0] and shape[-1] == images.shape[-1]:
            pictures.append(tiles(tensor) if shape.rank == 5 else tensor)
    return pictures
