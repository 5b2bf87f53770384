"""Patches of an image, with labels for tasks that predict something about them."""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from cl_keras.views.crops import Cropper
from cl_keras.views.draws import LOOK_COLUMNS, uniform
from cl_keras.views.random_views import RandomViews
from cl_keras.views.stages import look
from cl_keras.views.view import View

# Added to seeds, to make the draws of an image independent.
_PATCHES, _LOOK = 2 << 32, 3 << 32


class Labeled(NamedTuple):
    """Views with a label that a method must predict.

    Attributes:
        images: float32 `[b, n, h, w, C]` in 0..255.
        label: int32 `[b]`, or `[b, n]` if each view has its own label.
    """

    images: tf.Tensor
    label: tf.Tensor


class PatchViews:
    """Views that are cut from one crop of each image.

    A pure function of the images, the seed, the step and the row of the global batch. A subclass
    defines `from_crop`; with `look`, each patch is changed in its look independently.

    Args:
        crop: `View` of the crop that the patches are cut from; only size, crop and flip are used.
        look: `View` with the jitter, grayscale and blur of a patch; its `image_size` is the side of
            the patches; default: None, patches as they are.
    """

    def __init__(self, crop: View, look: View | None = None):
        self.crop, self.look = crop, look
        self._crops = RandomViews([_without_look(crop)])

    def from_crop(self, crops: tf.Tensor, block: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor | None]:
        """The patches of crops.

        Args:
            crops: float32 `[b, S, S, C]`.
            block: uniform `[b, columns]`, the draws for each image.

        Returns:
            patches: `[b, n, p, p, C]`.
            label: int32, or None if there is nothing to predict.
        """
        raise NotImplementedError(f"{type(self).__name__} must define from_crop(crops, block).")

    @property
    def columns(self) -> int:
        """Number of draws per image that `from_crop` takes."""
        return 1

    @property
    def image_size(self) -> int:
        """Side in pixels of the images that the encoder sees."""
        return self.look.image_size if self.look else self.crop.image_size

    def __call__(self, images: Any, *, seed: Any, step: Any, first_row: Any = 0) -> Any:
        """The patches of each image.

        Args:
            images: `[b, H, W, C]`, uint8 or float in 0..255.
            seed: int or int tensor.
            step: int or int tensor; another step gives other patches.
            first_row: row of the global batch at which `images` begin; default: 0.

        Returns:
            `Labeled`, or just the patches if there is no label.
        """
        crops = self._crops(images, seed=seed, step=step, first_row=first_row)
        return self.finish(crops, seed=seed, step=step, first_row=first_row)

    def cropper(self, seed: int) -> Cropper:
        """Draws the crop while photographs are decoded; `finish` makes patches of it."""
        return self._crops.cropper(seed)

    def finish(
        self, crops: Sequence[tf.Tensor], *, seed: Any, step: Any, first_row: Any = 0
    ) -> Any:
        """Makes the patches from crops that are already cut, given as a sequence of one."""
        (crop,) = crops
        seed, rows = tf.cast(seed, tf.int64), tf.shape(crop)[0]
        block = uniform(seed + _PATCHES, step, first_row, rows, self.columns)
        patches, label = self._compiled(tf.cast(crop, tf.float32), block)
        if self.look is not None:
            count = patches.shape[1]
            flat = tf.reshape(patches, [-1, *patches.shape[2:]])
            draws = uniform(seed + _LOOK, step, first_row * count, rows * count, LOOK_COLUMNS)
            patches = tf.reshape(look(flat, draws, self.look), [-1, *patches.shape[1:]])
        return patches if label is None else Labeled(patches, label)

    @tf.function(jit_compile=True, reduce_retracing=False, autograph=False)
    def _compiled(self, crops, block):
        return self.from_crop(crops, block)


def windows(images: tf.Tensor, down: tf.Tensor, right: tf.Tensor, size: int) -> tf.Tensor:
    """Square windows of each image.

    Args:
        images: `[b, H, W, C]`.
        down: int32 `[b, n]`, first row of each window.
        right: int32 `[b, n]`, first column of each window.
        size: side of a window in pixels.

    Returns:
        `[b, n, size, size, C]`.
    """
    strips = tf.gather(images, down[..., None] + tf.range(size), axis=1, batch_dims=1)
    return tf.gather(strips, right[..., None] + tf.range(size), axis=3, batch_dims=2)


def tiles(patches: tf.Tensor) -> tf.Tensor:
    """Lays patches side by side, as a picture.

    Args:
        patches: `[n, g, p, p, C]`.

    Returns:
        `[n, r·p, c·p, C]`, with r = c if g is a square number, and otherwise a single row.
    """
    count, _, size, channels = patches.shape[1:]
    grid = round(count**0.5)
    rows, columns = (grid, grid) if grid**2 == count else (1, count)
    cells = tf.reshape(patches, [-1, rows, columns, size, size, channels])
    side_by_side = tf.transpose(cells, [0, 1, 3, 2, 4, 5])
    return tf.reshape(side_by_side, [-1, rows * size, columns * size, channels])


def views_from(config: dict, *names: str) -> dict[str, View | None]:
    """The `View`s of a configuration, from their dicts."""
    return {name: config[name] and View(**config[name]) for name in names}


PLAIN = {
    "color_probability": 0.0,
    "grayscale_probability": 0.0,
    "blur_probability": 0.0,
    "solarize_probability": 0.0,
}
"""Arguments of a `View` that only crops and flips."""


def _without_look(view):
    return dataclasses.replace(view, **PLAIN)
