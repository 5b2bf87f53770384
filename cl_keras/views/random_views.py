"""Random views of images."""

import dataclasses
import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import keras
import tensorflow as tf

from cl_keras.views.crops import Cropper
from cl_keras.views.draws import CROP_COLUMNS, LOOK_COLUMNS, uniform
from cl_keras.views.stages import look, make
from cl_keras.views.view import View


@keras.saving.register_keras_serializable("cl_keras")
class RandomViews:
    """Random views of each image, each drawn according to its `View`.

    A pure function of the images, the seed, the step and the row of the global batch: it has no
    state, and is the same on one replica and on many. It runs on the device, in compiled functions.

    For images that do not have three channels, saturation, hue and grayscale make no sense and are
    left out, with a warning if a view asks for them; brightness, contrast, blur and solarization
    apply to each channel. Contrast is then relative to the mean of each channel.

    NOTE: the order of brightness, contrast, saturation and hue is fixed; in the papers it is
    random.

    Args:
        views: one `View` per view.

    Raises:
        ValueError: for no views.
    """

    def __init__(self, views: Iterable[View]):
        self.views = tuple(views)
        if not self.views or not all(isinstance(view, View) for view in self.views):
            raise ValueError(
                "views must be at least one cl_keras.views.View, one for each view; "
                f"received {views!r}."
            )

    @property
    def num_views(self) -> int:
        return len(self.views)

    @property
    def image_size(self) -> int:
        """Side of the first view in pixels."""
        return self.views[0].image_size

    def __call__(
        self, images: Any, *, seed: Any, step: Any, first_row: Any = 0
    ) -> tuple[tf.Tensor, ...]:
        """Views of each image.

        Args:
            images: `[b, H, W, C]`, uint8 or float in 0..255.
            seed: int or int tensor.
            step: int or int tensor; another step gives other views.
            first_row: row of the global batch at which `images` begin; default: 0.

        Returns:
            A float32 tensor `[b, size, size, C]` in 0..255 for each view.

        Raises:
            ValueError: for images that are not a batch of one known size.
        """
        images = checked_images(images)
        self._warn_of_what_is_dropped(images.shape[-1])
        blocks = self._blocks(seed, step, first_row, tf.shape(images)[0])
        return tuple(
            make(images, block, view) for block, view in zip(blocks, self.views, strict=True)
        )

    def cropper(self, seed: int) -> Cropper:
        """Draws the crops while photographs are decoded; `finish` makes views of them."""
        return Cropper(self.views, seed)

    def finish(
        self, crops: Sequence[tf.Tensor], *, seed: Any, step: Any, first_row: Any = 0
    ) -> tuple[tf.Tensor, ...]:
        """Makes views from crops that are already cut: jitter, grayscale, blur, solarization.

        Args:
            crops: `[b, size, size, C]` for each view, uint8 or float in 0..255.
            seed: int or int tensor.
            step: int or int tensor.
            first_row: row of the global batch at which the crops begin; default: 0.

        Returns:
            Views as in a call with images.

        Raises:
            ValueError: for crops of other sizes than the views.
        """
        crops = [checked_images(crop) for crop in crops]
        sizes = [crop.shape[1] for crop in crops]
        if sizes != [view.image_size for view in self.views]:
            raise ValueError(
                f"The views need crops of {[view.image_size for view in self.views]} pixels; "
                f"received {sizes}."
            )
        self._warn_of_what_is_dropped(crops[0].shape[-1])
        blocks = self._blocks(seed, step, first_row, tf.shape(crops[0])[0])
        return tuple(
            look(crop, block[:, CROP_COLUMNS:], view)
            for crop, block, view in zip(crops, blocks, self.views, strict=True)
        )

    def _blocks(self, seed, step, first_row, rows):
        # Drawn outside the compiled functions, whose shapes would otherwise depend on the replica.
        width = CROP_COLUMNS + LOOK_COLUMNS
        return tf.split(
            uniform(seed, step, first_row, rows, self.num_views * width), self.num_views, axis=1
        )

    def _warn_of_what_is_dropped(self, channels):
        if channels == 3:
            return
        asked = {
            "saturation": any(view.color_probability and view.saturation for view in self.views),
            "hue": any(view.color_probability and view.hue for view in self.views),
            "grayscale": any(view.grayscale_probability for view in self.views),
        }
        if dropped := [name for name, is_asked in asked.items() if is_asked]:
            warnings.warn(
                f"{', '.join(dropped).capitalize()} cannot be changed in images with {channels} "
                "channel(s), and is left out. To avoid this warning, use views made for them, such "
                f"as views.simclr(size, channels={channels}).",
                stacklevel=3,
            )

    def get_config(self) -> dict[str, Any]:
        return {"views": [dataclasses.asdict(view) for view in self.views]}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "RandomViews":
        return cls(View(**view) for view in config["views"])


def checked_images(images: Any) -> tf.Tensor:
    """Images as a tensor `[b, H, W, C]` of known height, width and channels."""
    images = tf.convert_to_tensor(images)
    if images.shape.rank != 4 or None in images.shape[1:]:
        raise ValueError(
            "images must be a batch [b, H, W, C] of one known size and number of channels; "
            f"received shape {tuple(images.shape)}."
        )
    return images


def by_size(views: Iterable[tf.Tensor]) -> list[list[tf.Tensor]]:
    """Groups adjacent views of the same shape, which an encoder can take in one pass.

    Args:
        views: tensors `[b, H, W, C]`.

    Returns:
        Lists of views, in the same order.
    """
    groups: list[list[tf.Tensor]] = []
    for view in views:
        if groups and groups[-1][0].shape[1:] == view.shape[1:]:
            groups[-1].append(view)
        else:
            groups.append([view])
    return groups
