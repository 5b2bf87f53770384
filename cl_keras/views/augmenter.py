"""Uses Keras augmentation layers, and functions, as views."""

import inspect
import warnings
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("cl_keras")
class KerasViews:
    """Views made by a Keras model or layer that augments images, called once for each view.

    NOTE: Keras' random layers have their own state, so a run with them can neither be repeated nor
    resumed exactly, and replicas may draw the same numbers.

    Args:
        augmenter: a `keras.Model` or layer from images in 0..255 to images in 0..255.
        num_views: number of views of each image; default: 2.

    Raises:
        ValueError: for fewer than one view.
    """

    def __init__(self, augmenter: keras.layers.Layer, num_views: int = 2):
        if num_views < 1:
            raise ValueError(f"num_views must be at least 1; received {num_views!r}.")
        self.augmenter, self.num_views = augmenter, num_views

    @property
    def image_size(self) -> int | None:
        """Side of the views in pixels, if the augmenter declares it."""
        shape = getattr(self.augmenter, "output_shape", (None, None))
        return shape[1]

    def __call__(
        self, images: Any, *, seed: Any, step: Any, first_row: Any = 0
    ) -> tuple[tf.Tensor, ...]:
        """Views of images `[b, H, W, C]`; seed, step and first row are ignored."""
        images = tf.cast(images, tf.float32)
        return tuple(self.augmenter(images, training=True) for _ in range(self.num_views))

    def get_config(self) -> dict[str, Any]:
        return {
            "augmenter": keras.saving.serialize_keras_object(self.augmenter),
            "num_views": self.num_views,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "KerasViews":
        augmenter = keras.saving.deserialize_keras_object(config["augmenter"])
        return cls(augmenter, config["num_views"])


def as_views(views: Any) -> Callable:
    """Views in the form that every method calls; a Keras augmenter is called once per view.

    Args:
        views: a callable `(images, seed, step, first_row) -> views`, or a Keras model or layer.

    Raises:
        ValueError: for anything else.
    """
    if isinstance(views, keras.layers.Layer):
        warnings.warn(
            "Keras layers have their own random state, so a run with them as views cannot be "
            "repeated or resumed exactly. With views.simclr and the like, it can.",
            stacklevel=2,
        )
        return KerasViews(views)
    wanted = (
        "views must be callable as views(images, seed=…, step=…, first_row=…) and return a tuple "
        "of views, as views.simclr(96) does, or be a Keras model that augments images; "
    )
    if not callable(views):
        raise ValueError(f"{wanted}received {views!r}.")
    try:
        inspect.signature(views).bind(None, seed=0, step=0, first_row=0)
    except TypeError:
        raise ValueError(
            f"{wanted}received {views!r}, which does not take these arguments. Wrap a function f "
            "of images: lambda images, seed, step, first_row: (f(images), f(images))."
        ) from None
    except ValueError:  # a callable without a signature
        pass
    return views
