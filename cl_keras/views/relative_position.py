"""Two patches of an image, and their relative position: views for context prediction."""

from typing import Any

import keras
import tensorflow as tf

from cl_keras.views.draws import Columns
from cl_keras.views.patches import PatchViews, windows
from cl_keras.views.view import View


@keras.saving.register_keras_serializable("cl_keras")
class RelativePositionViews(PatchViews):
    """The middle patch of a 3 × 3 grid and one of the eight around it (Doersch et al. 2015).

        0 1 2
        3 · 4      the label: the position of the second patch
        5 6 7

    Args:
        patch_size: side of a patch in pixels; default: 96.
        gap: pixels between patches, before the jitter; default: 48.
        jitter: maximum displacement of each patch in pixels, in each direction; default: 7.
        defense: how to hide chromatic aberration, which gives the position away:
            `"drop_channels"` replaces two of the three channels of each patch by the mean of the
            third, as in the authors' code; `"grayscale"` makes each patch gray with probability
            0.66; None does nothing. It only applies to images of three channels; default:
            `"drop_channels"`.
        crop_area: (least, most) share of the image that the grid covers; default: (0.35, 1), as
            398 × 398 pixels are of the authors' images of 150,000 to 450,000.

    NOTE: the authors also shrink a third of the patches to as few as 100 pixels and back, and add
    noise of ± 0.5 to the channels that they drop.

    Raises:
        ValueError: for a value out of range.
    """

    def __init__(
        self,
        patch_size: int = 96,
        *,
        gap: int = 48,
        jitter: int = 7,
        defense: str | None = "drop_channels",
        crop_area: tuple[float, float] = (0.35, 1.0),
    ):
        if defense not in ("drop_channels", "grayscale", None):
            raise ValueError(
                f'defense must be "drop_channels", "grayscale" or None; received {defense!r}.'
            )
        if patch_size < 1 or gap < 0 or jitter < 0:
            raise ValueError(
                "patch_size must be at least 1, gap and jitter at least 0; received "
                f"{patch_size!r}, {gap!r} and {jitter!r}."
            )
        self.patch_size, self.gap, self.jitter = patch_size, gap, jitter
        self.defense, self.crop_area = defense, tuple(crop_area)
        side = 3 * patch_size + 2 * gap + 2 * jitter
        super().__init__(View(side, crop_area=crop_area, crop_ratio=(1.0, 1.0), flip=0.0))

    columns = 1 + 4 + 2

    @property
    def image_size(self) -> int:
        """Side of the patches in pixels."""
        return self.patch_size

    def from_crop(self, crops: tf.Tensor, block: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor | None]:
        columns = Columns(block)
        label = tf.cast(columns.take(0, 8), tf.int32)
        cell = tf.where(label < 4, label, label + 1)  # of nine, without the middle
        cells = tf.stack([tf.fill(tf.shape(cell), 4), cell], axis=1)
        moved = tf.reshape(columns.take_many(4, 0, 2 * self.jitter + 1), [-1, 2, 2])
        pitch = self.patch_size + self.gap
        down = (cells // 3) * pitch + tf.cast(moved[..., 0], tf.int32)
        right = (cells % 3) * pitch + tf.cast(moved[..., 1], tf.int32)
        patches = windows(crops, down, right, self.patch_size)
        if crops.shape[-1] == 3 and self.defense:
            patches = self._defended(patches, columns)
        return patches, label

    def _defended(self, patches, columns):
        drawn = columns.take_many(2)[..., None, None, None]
        if self.defense == "grayscale":
            gray = tf.image.rgb_to_grayscale(patches)
            return tf.where(drawn < 0.66, tf.broadcast_to(gray, tf.shape(patches)), patches)
        kept = tf.one_hot(tf.cast(drawn[..., 0] * 3, tf.int32), 3)
        level = tf.reduce_sum(
            kept * tf.reduce_mean(patches, axis=[2, 3], keepdims=True), axis=-1, keepdims=True
        )
        return tf.where(kept > 0, patches, level)

    def get_config(self) -> dict[str, Any]:
        names = ("patch_size", "gap", "jitter", "defense", "crop_area")
        return {name: getattr(self, name) for name in names}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "RelativePositionViews":
        return cls(**config)


def relative_position(image_size: int, channels: int = 3, **changes) -> RelativePositionViews:
    """The views of Doersch et al. 2015, scaled to the size of the images.

    A grid of 398 pixels, as in the paper, has patches of 96, gaps of 48 and a jitter of 7; other
    sizes are in proportion.

    Args:
        image_size: maximum side of the grid in pixels.
        channels: number of channels; default: 3.
        **changes: arguments of `RelativePositionViews` to override.
    """
    patch, jitter = max(1, int(image_size * 96 / 398)), round(image_size * 7 / 398)
    gap = max(0, (image_size - 3 * patch - 2 * jitter) // 2)
    defense = "drop_channels" if channels == 3 else None
    preset = {"patch_size": patch, "gap": gap, "jitter": jitter, "defense": defense}
    return RelativePositionViews(**(preset | changes))
