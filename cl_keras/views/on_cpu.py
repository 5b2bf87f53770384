"""Makes views on all cores of a CPU, as an operation of a graph."""

import functools
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from cl_keras import aligned, loops
from cl_keras.views.resample import blur_radius
from cl_keras.views.view import View

MIN_PIXELS = 2**15
"""Minimum number of pixels of the views in a part."""


def make(images: tf.Tensor, drawn: tf.Tensor, view: View, cuts: bool) -> tf.Tensor:
    """Makes a view of each image.

    NOTE: XLA cannot compile this, and a graph with it cannot be saved.

    Args:
        images: `[b, H, W, C]`; of the size of the view, unless they are cut.
        drawn: float32 `[b, 12]`, the draws for each image: a box, a flip and a `draws.Look`.
        view: gives the size, and the reach of a blur.
        cuts: whether to crop and resize.

    Returns:
        float32 `[b, size, size, C]`.
    """
    if images.dtype != tf.uint8:
        images = tf.cast(images, tf.float32)
    made = tf.numpy_function(_maker(view, cuts), [images, drawn], tf.float32, stateful=False)
    made.set_shape([images.shape[0], view.image_size, view.image_size, images.shape[3]])
    return made


@functools.lru_cache(maxsize=256)  # a graph keeps the functions that it calls
def _maker(view, cuts) -> Callable:
    size = view.image_size
    radius = blur_radius(size, view.blur_sigma[1], view.blur_kernel)

    def run(images, drawn):
        from cl_keras.views import kernels  # slow to import, and not needed on a GPU

        out = aligned.empty((len(images), size, size, images.shape[3]), np.float32)

        def work(first, last):
            part = slice(first, last)
            kernels.make(images[part], drawn[part], radius, cuts, out[part])

        loops.on_all_cores(work, len(images), max(1, len(images) * size * size // MIN_PIXELS))
        return out

    return run
