"""Makes views on all cores of a CPU, as an operation of a graph."""

import functools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import tensorflow as tf

from cl_keras import bounds
from cl_keras.data import aligned
from cl_keras.views.resample import blur_radius
from cl_keras.views.view import View

MIN_PIXELS = 2**15
"""Minimum number of pixels of the views that a thread makes."""


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
        most = max(1, len(images) * size * size // MIN_PIXELS)
        cores = bounds.cores()
        # More parts than cores, since some views are blurred and take longer.
        ends = np.linspace(0, len(images), min(4 * cores, most, len(images) or 1) + 1).astype(int)
        parts = iter([slice(*each) for each in zip(ends, ends[1:], strict=False)])

        def work(_=None):
            for part in parts:  # whichever thread comes first takes the next
                kernels.make(images[part], drawn[part], radius, cuts, out[part])

        if len(ends) == 2:
            work()
        else:
            list(_pool(os.getpid(), cores).map(work, range(cores)))
        return out

    return run


@functools.lru_cache(maxsize=1)  # by process, since a forked one has no threads of its parent
def _pool(pid, cores):
    return ThreadPoolExecutor(cores, thread_name_prefix="views")
