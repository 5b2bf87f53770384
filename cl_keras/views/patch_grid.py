"""Overlapping patches of an image: views for contrastive predictive coding."""

import dataclasses
from typing import Any

import keras
import tensorflow as tf

from cl_keras.views.patches import PatchViews, views_from, windows
from cl_keras.views.view import View


@keras.saving.register_keras_serializable("cl_keras")
class PatchGrid(PatchViews):
    """All patches of an overlapping grid, row by row (CPC v2, Hénaff et al. 2020).

    Args:
        patch_size: side of a patch in pixels; default: 80.
        stride: pixels from one patch to the next; default: 36.
        grid: number of patches along a side; default: 6, for crops of 260 pixels as in the paper.
        crop: `View` of the crop, whose size is replaced by that of the grid; default: None, crops
            of at least half of the image, flipped with probability 0.5.
        look: `View` for the look of each patch; default: None.

    Raises:
        ValueError: for a value below 1.
    """

    def __init__(
        self,
        patch_size: int = 80,
        *,
        stride: int = 36,
        grid: int = 6,
        crop: View | None = None,
        look: View | None = None,
    ):
        if min(patch_size, stride, grid) < 1:
            raise ValueError(
                "patch_size, stride and grid must be at least 1; received "
                f"{patch_size!r}, {stride!r} and {grid!r}."
            )
        self.patch_size, self.stride, self.grid = patch_size, stride, grid
        side = patch_size + (grid - 1) * stride
        crop = View(side, crop_area=(0.5, 1.0)) if crop is None else _resized(crop, side)
        super().__init__(crop, None if look is None else _resized(look, patch_size))

    @property
    def image_size(self) -> int:
        """Side of the patches in pixels."""
        return self.patch_size

    def from_crop(self, crops: tf.Tensor, block: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor | None]:
        starts = tf.range(self.grid) * self.stride
        cells = tf.zeros([tf.shape(crops)[0], 1], tf.int32) + tf.range(self.grid**2)
        down, right = tf.gather(starts, cells // self.grid), tf.gather(starts, cells % self.grid)
        return windows(crops, down, right, self.patch_size), None

    def get_config(self) -> dict[str, Any]:
        return {
            "patch_size": self.patch_size,
            "stride": self.stride,
            "grid": self.grid,
            "crop": dataclasses.asdict(self.crop),
            "look": self.look and dataclasses.asdict(self.look),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "PatchGrid":
        return cls(**(config | views_from(config, "crop", "look")))


def patch_grid(
    image_size: int, channels: int = 3, *, patch_share: float = 80 / 260, **changes
) -> PatchGrid:
    """CPC v2's patches, scaled to the size of the images: 6 × 6 of 80, at a stride of 36, for 260.

    Args:
        image_size: maximum side of the grid in pixels.
        channels: number of channels; ignored; default: 3.
        patch_share: side of a patch, as a share of that of the image; default: 80/260.
        **changes: arguments of `PatchGrid` to override.
    """
    patch, grid = max(1, round(image_size * patch_share)), changes.get("grid", 6)
    stride = max(1, (image_size - patch) // max(1, grid - 1))
    return PatchGrid(**({"patch_size": patch, "stride": stride} | changes))


def _resized(view, size):
    return dataclasses.replace(view, image_size=size)
