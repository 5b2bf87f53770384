"""The two stages of a view, each compiled: cut a crop, and change its look."""

import functools

import tensorflow as tf

from cl_keras.views import color, resample
from cl_keras.views.draws import Columns, crop_boxes, decide
from cl_keras.views.view import View

_compiled = functools.partial(tf.function, jit_compile=True, autograph=False)

# Functions are kept by the view's values, so that equal views are compiled once.
_cached = functools.lru_cache(maxsize=256)


_GRAY = 5  # column of the look that decides on grayscale, and on solarization


def cut(images: tf.Tensor, block: tf.Tensor, view: View) -> tf.Tensor:
    """A crop of each image, resized and perhaps flipped.

    Args:
        images: `[b, H, W, C]`.
        block: uniform `[b, CROP_COLUMNS]`.
        view: of which size, crop and flip are used.

    Returns:
        float32 `[b, size, size, C]`.
    """
    crop = (view.image_size, view.crop_area, view.crop_ratio, view.flip)
    return _cutter(*crop, _on_gpu())(images, block)


def look(crops: tf.Tensor, block: tf.Tensor, view: View) -> tf.Tensor:
    """Jitter, grayscale, blur and solarization of crops that have the size of the view.

    Args:
        crops: `[b, size, size, C]`.
        block: uniform `[b, LOOK_COLUMNS]`.
        view: the strengths.

    Returns:
        float32, of the same shape.
    """
    for stage in _look_stages(view, _on_gpu()):
        crops = stage(crops, block)
    return crops


def _on_gpu() -> bool:
    """Whether views are made on a GPU, in the form that suits one."""
    return bool(tf.config.list_logical_devices("GPU"))


@_cached
def _cutter(size, area, ratio, flip, matrices):
    @_compiled
    def draw_and_cut(images, block):
        columns = Columns(block)
        box = crop_boxes(columns, *images.shape[1:3], area, ratio)
        return resample.crop(images, box, columns.take() < flip, size, matrices)

    return draw_and_cut


@_cached
def _look_stages(view, matrices):
    """One function on a GPU; on a CPU one for each pass over the image.

    XLA would fuse the two passes of a blur into one that computes the first again and again.
    """
    stages = [_jitter(view)]
    if view.blur_probability > 0:
        stages += [_blur(view, 1, matrices), _blur(view, 2, matrices)]
    if view.solarize_probability > 0:
        stages.append(_solarize(view))
    if not matrices:
        return [_compiled(stage) for stage in stages]

    @_compiled
    def whole(crops, block):
        for stage in stages:
            crops = stage(crops, block)
        return crops

    return [whole]


def _jitter(view):
    def jitter(crops, block):
        columns = Columns(block)
        applies = columns.take() < view.color_probability

        def factor(strength):
            drawn = columns.take(max(0.0, 1.0 - strength), 1.0 + strength)
            return tf.where(applies, drawn, 1.0)

        factors = [factor(view.brightness), factor(view.contrast), factor(view.saturation)]
        turns = tf.where(applies, columns.take(-view.hue, view.hue), 0.0)
        gray = columns.take() < view.grayscale_probability
        channels = crops.shape[-1]
        planes = [tf.cast(crops[..., i], tf.float32) for i in range(channels)]
        if view.color_probability > 0:
            planes = color.brightness(planes, factors[0])
            planes = color.contrast(planes, factors[1])
            if channels == 3:
                planes = color.saturation(planes, factors[2])
                planes = color.hue(planes, turns) if view.hue > 0 else planes
        if channels == 3 and view.grayscale_probability > 0:
            planes = color.grayscale(planes, gray)
        return tf.stack(planes, axis=-1)

    return jitter


def _blur(view, axis, matrices):
    radius = resample.blur_radius(view.image_size, view.blur_sigma[1], view.blur_kernel)

    def blur(crops, block):
        columns = Columns(block[:, _GRAY + 1 :])
        applies = columns.take() < view.blur_probability
        sigma = tf.where(applies, columns.take(*view.blur_sigma), 0.0)
        return resample.blur(crops, resample.blur_weights(sigma, radius), axis, matrices)

    return blur


def _solarize(view):
    def solarize(crops, block):
        planes = [crops[..., i] for i in range(crops.shape[-1])]
        _, drawn = decide(block[:, _GRAY], view.grayscale_probability)
        return tf.stack(color.solarize(planes, drawn < view.solarize_probability), axis=-1)

    return solarize
