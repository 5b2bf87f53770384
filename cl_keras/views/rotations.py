"""Views in four rotations, with the rotation as their label."""

import dataclasses
from typing import Any

import keras
import tensorflow as tf

from cl_keras.views.patches import PLAIN, PatchViews, views_from
from cl_keras.views.view import View


@keras.saving.register_keras_serializable("cl_keras")
class Rotations(PatchViews):
    """Each view rotated by multiples of 90° (RotNet, Gidaris et al. 2018).

    The label of a view is the number of quarter turns, counterclockwise.

    Args:
        view: `View` of the crop, with its look.
        copies: how many of the four rotations of each view to make, in random order; default: 4, as
            in the authors' code.

    Raises:
        ValueError: for a number of copies other than 1 to 4.
    """

    def __init__(self, view: View, *, copies: int = 4):
        if copies not in (1, 2, 3, 4):
            raise ValueError(f"copies must be 1, 2, 3 or 4; received {copies!r}.")
        self.view, self.copies = view, copies
        super().__init__(view, view)

    columns = 4

    def from_crop(self, crops: tf.Tensor, block: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor | None]:
        label = tf.argsort(block, axis=1)[:, : self.copies]
        turned = tf.stack([tf.image.rot90(crops, k) for k in range(4)], axis=1)
        return tf.gather(turned, label, batch_dims=1), label

    def get_config(self) -> dict[str, Any]:
        return {"view": dataclasses.asdict(self.view), "copies": self.copies}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Rotations":
        return cls(**(config | views_from(config, "view")))


def rotations(image_size: int, channels: int = 3, *, copies: int = 4, **changes) -> Rotations:
    """RotNet's views: a random crop and flip, without jitter, in four rotations.

    Args:
        image_size: side of the views in pixels.
        channels: number of channels, which determines the crops; default: 3.
        copies: see `Rotations`; default: 4.
        **changes: arguments of `View` to override.
    """
    preset = {"crop_area": (0.3, 1.0) if channels == 1 else (0.08, 1.0)}
    return Rotations(View(image_size, **(PLAIN | preset | changes)), copies=copies)
