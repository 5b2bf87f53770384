"""From images and draws to views."""

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
    """Random views of each image, each drawn as its `View` says.

    A pure function of the images, the seed, the step and the row of the global batch: no state, the
    same on one replica and on many. It runs on the device, in compiled functions.

    On images of other than three channels, saturation, hue and grayscale make no sense and are left
    out, with a warning where a view asks for them; brightness, contrast, blur and solarization
    apply to each channel. Contrast is then about the mean of each channel.

    NOTE: the order of brightness, contrast, saturation and hue is fixed; the papers draw it.

    Args:
        views: a `View` for each view.

    Raises:
        ValueError: for no views.
    """

    def __init__(self, views: Iterable[View]):
        self.views = tuple(views)
        if not self.views or not all(isinstance(view, View) for view in self.views):
            raise ValueError(
                "views must be one cl_keras.views.View for each view, at least one; "
                f"received {views!r}."
            )

    @property
    def num_views(self) -> int:
        return len(self.views)

    @property
    def image_size(self) -> int:
        """Side of the first view in pixels."""
        return self.views[0].image_size

    def __call__(self, images, *, seed, step, first_row=0) -> tuple[tf.Tensor, ...]:
        """Views of each image.

        Args:
            images: `[b, H, W, C]`, uint8 or float in 0..255.
            seed: int or int tensor.
            step: int or int tensor; another step gives other views.
            first_row: row of the global batch that `images` begin with; default: 0.

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
        """What draws the crops where photographs are decoded; `finish` makes views of them."""
        return Cropper(self.views, seed)

    def finish(
        self, crops: Sequence[tf.Tensor], *, seed, step, first_row=0
    ) -> tuple[tf.Tensor, ...]:
        """Views from crops that are cut already: jitter, grayscale, blur and solarization.

        Args:
            crops: `[b, size, size, C]` for each view, uint8 or float in 0..255.
            seed: int or int tensor.
            step: int or int tensor.
            first_row: row of the global batch that the crops begin with; default: 0.

        Returns:
            As when called with images.

        Raises:
            ValueError: for other crops than the views have.
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
        # Drawn outside of the compiled functions, whose shapes would else depend on the replica.
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
                f"Images of {channels} channel(s) have no {', '.join(dropped)} to change: left "
                "out. Views made for their number of channels, such as "
                f"views.simclr(size, channels={channels}), do not ask for it.",
                stacklevel=3,
            )

    def get_config(self) -> dict[str, Any]:
        return {"views": [dataclasses.asdict(view) for view in self.views]}

    @classmethod
    def from_config(cls, config):
        return cls(View(**view) for view in config["views"])


def checked_images(images) -> tf.Tensor:
    """Images as a tensor `[b, H, W, C]` of known height, width and channels."""
    images = tf.convert_to_tensor(images)
    if images.shape.rank != 4 or None in images.shape[1:]:
        raise ValueError(
            "images must be a batch [b, H, W, C] of one known size and number of channels; "
            f"received shape {tuple(images.shape)}."
        )
    return images


def by_size(views: Iterable[tf.Tensor]) -> list[list[tf.Tensor]]:
    """Neighboring views of one shape, together: what an encoder can take in one pass.

    Args:
        views: tensors `[b, H, W, C]`.

    Returns:
        Lists of views, in their order.
    """
    groups: list[list[tf.Tensor]] = []
    for view in views:
        if groups and groups[-1][0].shape[1:] == view.shape[1:]:
            groups[-1].append(view)
        else:
            groups.append([view])
    return groups
