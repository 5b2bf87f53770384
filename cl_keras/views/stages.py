"""The stages of a view, each compiled: a crop is cut, and its look changed."""

import functools
import os

import tensorflow as tf

from cl_keras.views import color, resample
from cl_keras.views.draws import CROP_COLUMNS, Columns, crop_boxes, decide
from cl_keras.views.view import View

_compiled = functools.partial(tf.function, jit_compile=True, autograph=False)

# Functions are kept by the view's values, so that equal views are compiled once.
_cached = functools.lru_cache(maxsize=256)

_GRAY = 5  # column of the look that decides on grayscale, and on solarization

ALONE = 160
"""Side in pixels from which a CPU makes one view at a time: it stays in the cache, and the blur is
left out where it does not apply."""

MIN_PIXELS, MAX_PIXELS = 2**15, 2**18
"""Of the smaller views that a CPU makes at a time: enough to pay for a call, few for the cache."""


def make(images: tf.Tensor, block: tf.Tensor, view: View) -> tf.Tensor:
    """A view of each image: cut, resized, perhaps flipped, and with its look.

    Args:
        images: `[b, H, W, C]`.
        block: uniform `[b, CROP_COLUMNS + LOOK_COLUMNS]`.
        view: its values.

    Returns:
        float32 `[b, size, size, C]`.
    """
    return _maker(view, _on_gpu(), True)(images, block)


def look(crops: tf.Tensor, block: tf.Tensor, view: View) -> tf.Tensor:
    """Jitter, grayscale, blur and solarization of crops that have the size of the view.

    Args:
        crops: `[b, size, size, C]`.
        block: uniform `[b, LOOK_COLUMNS]`.
        view: its values.

    Returns:
        float32, of the same shape.
    """
    return _maker(view, _on_gpu(), False)(crops, block)


def _on_gpu() -> bool:
    """Whether views are made on a GPU, in the form that suits one."""
    return bool(tf.config.list_logical_devices("GPU"))


@_cached
def _maker(view, matrices, cuts):
    """A function of images (or of crops, where it does not cut) and draws."""
    columns = CROP_COLUMNS if cuts else 0

    def stages(images, block):
        if cuts:
            images = _cut(view, matrices)(images, block[:, :columns])
        for stage in _look(view, matrices):
            images = stage(images, block[:, columns:])
        return images

    if matrices:
        return _compiled(stages)

    @functools.partial(tf.function, autograph=False)
    def in_chunks(images, block):
        return _in_chunks(stages, view.image_size, images, block)

    return in_chunks


def _in_chunks(function, size, images, block):
    """The function of some rows at a time, on all cores; XLA uses one core for each call."""
    rows, cores = images.shape[0], os.cpu_count() or 1
    if rows is None:
        return function(images, block)
    most = 1 if size >= ALONE else max(1, MAX_PIXELS // size**2)
    chunk = min(most, max(-(-rows // cores), MIN_PIXELS // size**2))
    count = rows // chunk
    if count < 2:
        return function(images, block)
    whole = count * chunk
    made = tf.map_fn(
        lambda chunks: function(*chunks),
        [tf.reshape(x[:whole], [count, chunk, *x.shape[1:]]) for x in (images, block)],
        fn_output_signature=tf.TensorSpec([chunk, size, size, images.shape[-1]]),
        parallel_iterations=cores,
    )
    made = tf.reshape(made, [whole, size, size, images.shape[-1]])
    if whole == rows:
        return made
    return tf.concat([made, function(images[whole:], block[whole:])], axis=0)


@_cached
def _cut(view, matrices):
    size = view.image_size

    # XLA would compute what is planned again for each pixel, if it were one function with the rest.
    @_compiled
    def plan(block, height, width):
        columns = Columns(block)
        box = crop_boxes(columns, height, width, view.crop_area, view.crop_ratio)
        y, x, box_height, box_width = box
        flipped = columns.take() < view.flip
        return (
            resample.plan(y, box_height, size, height, matrices=matrices),
            resample.plan(x, box_width, size, width, flipped=flipped, matrices=matrices),
        )

    rows = _compiled(functools.partial(resample.resize, axis=1))
    columns = _compiled(functools.partial(resample.resize, axis=2))

    def cut(images, block):
        across, along = plan(block, *images.shape[1:3])
        return columns(rows(images, across), along)

    return cut


@_cached
def _look(view, matrices):
    """The passes over an image that change its look.

    XLA would fuse the two passes of a blur into one that computes the first again and again.
    """
    compiled = (lambda stage: stage) if matrices else _compiled
    stages = [compiled(_jitter(view))]
    if view.blur_probability > 0:
        passes = [compiled(_blur(view, axis, matrices)) for axis in (1, 2)]
        stages.append(_where_it_applies(view, passes))
    if view.solarize_probability > 0:
        stages.append(compiled(_solarize(view)))
    return stages


def _where_it_applies(view, passes):
    def blur(crops, block):
        def both():
            return passes[1](passes[0](crops, block), block)

        if crops.shape[0] != 1:
            return both()
        applies = block[0, _GRAY + 1] < view.blur_probability
        return tf.cond(applies, both, lambda: crops)

    return blur


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
