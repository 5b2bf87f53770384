"""Views made by the CPU, on all of its cores, as an operation of a graph."""

import functools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import tensorflow as tf

from cl_keras.views.resample import blur_radius
from cl_keras.views.view import View

MIN_PIXELS = 2**15
"""Pixels of views that are worth a thread of their own."""

ALIGNMENT = 64
"""Bytes to which TensorFlow wants its memory aligned; what is not is copied."""


def make(images: tf.Tensor, drawn: tf.Tensor, view: View, cuts: bool) -> tf.Tensor:
    """Views of images.

    NOTE: XLA cannot compile this, and a graph with it cannot be saved.

    Args:
        images: `[b, H, W, C]`; as large as the view where nothing is cut.
        drawn: float32 `[b, 12]`, what is drawn for each: a box, a flip and a `draws.Look`.
        view: gives the size, and how far a blur reaches.
        cuts: whether to crop and resize.

    Returns:
        float32 `[b, size, size, C]`.
    """
    if images.dtype != tf.uint8:
        images = tf.cast(images, tf.float32)
    made = tf.numpy_function(_maker(view, cuts), [images, drawn], tf.float32, stateful=False)
    made.set_shape([images.shape[0], view.image_size, view.image_size, images.shape[3]])
    return made


@functools.lru_cache(maxsize=256)  # a graph keeps what it calls: one for equal views
def _maker(view, cuts) -> Callable:
    size = view.image_size
    radius = blur_radius(size, view.blur_sigma[1], view.blur_kernel)

    def run(images, drawn):
        from cl_keras.views import kernels  # takes a while to load, and a GPU does without

        out = _aligned((len(images), size, size, images.shape[3]))
        most = max(1, len(images) * size * size // MIN_PIXELS)
        cores = _cores()
        # More parts than cores: some views are blurred, and take longer.
        ends = np.linspace(0, len(images), min(4 * cores, most, len(images) or 1) + 1).astype(int)
        parts = [slice(*each) for each in zip(ends, ends[1:], strict=False)]

        def work(part):
            kernels.make(images[part], drawn[part], radius, cuts, out[part])

        if len(parts) == 1:
            work(parts[0])
        else:
            list(_pool(os.getpid(), cores).map(work, parts))
        return out

    return run


@functools.lru_cache(maxsize=1)  # a process that was forked has no threads of its parent
def _pool(pid, cores):
    return ThreadPoolExecutor(cores, thread_name_prefix="views")


def _cores():
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _aligned(shape):
    """An empty float32 array that TensorFlow can take as it is."""
    count = int(np.prod(shape))
    buffer = np.empty(4 * count + ALIGNMENT, np.uint8)
    begin = -buffer.ctypes.data % ALIGNMENT
    return buffer[begin : begin + 4 * count].view(np.float32).reshape(shape)
