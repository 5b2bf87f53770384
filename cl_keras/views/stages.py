"""The stages of a view: cutting a crop, and changing its look.

On a CPU, `kernels` makes one image after the other. On a GPU, and wherever XLA compiles the
surrounding step, all are made at once, as products with matrices. Both use the same draws and agree
up to rounding.
"""

import functools

import tensorflow as tf

from cl_keras import loops
from cl_keras.views import color, on_cpu, resample
from cl_keras.views.draws import CROP_COLUMNS, Columns, Look, crop_boxes, draw_look
from cl_keras.views.view import View

_compiled = functools.partial(tf.function, jit_compile=True, autograph=False)

# Functions are cached by the values of the view, so equal views are compiled once.
_cached = functools.lru_cache(maxsize=256)


def make(images: tf.Tensor, block: tf.Tensor, view: View) -> tf.Tensor:
    """Makes a view of each image: cuts, resizes and flips it, and changes its look.

    Args:
        images: `[b, H, W, C]`.
        block: uniform `[b, CROP_COLUMNS + LOOK_COLUMNS]`.
        view: parameters of the view.

    Returns:
        float32 `[b, size, size, C]`.
    """
    if not loops.fit_here():
        return _by_matrices(view, True)(images, block)
    height, width = images.shape[1:3]
    return on_cpu.make(images, _drawn(view, height, width)(block), view, True)


def look(crops: tf.Tensor, block: tf.Tensor, view: View) -> tf.Tensor:
    """Changes the look of crops: jitter, grayscale, blur and solarization.

    Args:
        crops: `[b, size, size, C]`.
        block: uniform `[b, LOOK_COLUMNS]`.
        view: parameters of the view.

    Returns:
        float32, of the same shape.
    """
    if not loops.fit_here():
        return _by_matrices(view, False)(crops, block)
    return on_cpu.make(crops, _drawn(view)(block), view, False)


@_cached
def _drawn(view, height=None, width=None):
    """A function from draws to the box, flip and look that `on_cpu.make` takes."""

    @_compiled
    def drawn(block):
        if height is None:
            box_and_flip = [tf.zeros_like(block[:, 0])] * 5
        else:
            box, flipped = _box(block, view, height, width)
            box_and_flip = [*box, flipped]
            block = block[:, CROP_COLUMNS:]
        values = [*box_and_flip, *draw_look(block, view)]
        return tf.stack([tf.cast(value, tf.float32) for value in values], axis=1)

    return drawn


def _box(block, view, height, width):
    columns = Columns(block)
    box = crop_boxes(columns, height, width, view.crop_area, view.crop_ratio)
    return box, columns.take() < view.flip


@_cached
def _by_matrices(view, cuts):
    """A function of images (or of crops, unless it cuts them) and draws."""

    @_compiled
    def stages(images, block):
        if cuts:
            images = _cut(images, block, view)
            block = block[:, CROP_COLUMNS:]
        drawn = draw_look(block, view)
        images = _colored(images, drawn, view)
        if view.blur_probability > 0:
            radius = resample.blur_radius(view.image_size, view.blur_sigma[1], view.blur_kernel)
            weights = resample.blur_weights(drawn.sigma, radius)
            images = resample.blur(resample.blur(images, weights, axis=1), weights, axis=2)
        if view.solarize_probability > 0:
            planes = color.solarize(tf.unstack(images, axis=-1), drawn.solarized)
            images = tf.stack(planes, axis=-1)
        return images

    return stages


def _cut(images, block, view):
    height, width = images.shape[1:3]
    (y, x, box_height, box_width), flipped = _box(block, view, height, width)
    size = view.image_size
    rows = resample.resize_weights(y, box_height, size, height)
    columns = resample.resize_weights(x, box_width, size, width, flipped)
    return resample.resize(resample.resize(images, rows, axis=1), columns, axis=2)


def _colored(crops, drawn: Look, view):
    channels = crops.shape[-1]
    planes = tf.unstack(tf.cast(crops, tf.float32), axis=-1)
    if view.color_probability > 0:
        planes = color.brightness(planes, drawn.brightness)
        planes = color.contrast(planes, drawn.contrast)
        if channels == 3:
            planes = color.saturation(planes, drawn.saturation)
            planes = color.hue(planes, drawn.turns) if view.hue > 0 else planes
    if channels == 3 and view.grayscale_probability > 0:
        planes = color.grayscale(planes, drawn.gray)
    return tf.stack(planes, axis=-1)
