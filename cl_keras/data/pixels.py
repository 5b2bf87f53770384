"""From a file or an array to pixels: the same rules for every source, in training and in serving.

1. `image_header` decides which files are accepted, and finds the EXIF orientation, by which images
   are rotated. Only the first frame of an animation is used; 16-bit gray is scaled to 8 bits;
   transparency is composited on white.
2. Color becomes gray by ITU-R 601 luma (0.299 R + 0.587 G + 0.114 B); gray becomes color by
   repetition.
3. With an `image_size`, the largest centered square is cut out and resized bilinearly, with
   antialiasing. (That is, the shorter side is resized to `image_size`, and the rest is cropped.)

The functions on arrays use Pillow, those on tensors TensorFlow. Both give exactly the same pixels.
"""

from __future__ import annotations

import io
import os
import pathlib
from collections.abc import Callable
from typing import BinaryIO

import numpy as np
import tensorflow as tf
from PIL import Image

from cl_keras.data import image_header

FORMATS = image_header.FORMATS[1:]
REDUCTIONS = (8, 4, 2)
"""Factors by which a JPEG can be reduced while it is decoded."""

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")  # and 16-bit gray
_LUMA = (19595, 38470, 7471)  # Pillow's, out of 65536
_BAND = 2**20  # elements that are computed at a time
_WEIGHT_BITS = 22  # of Pillow's weights for resizing


class UnsupportedImage(ValueError):
    """An image file that is not accepted because of its header; the message is the reason."""


def decode(
    file: str | os.PathLike | BinaryIO, *, image_size: int | None = None, channels: int = 3
) -> np.ndarray:
    """Reads one image.

    NOTE: a JPEG much larger than requested is decoded at 1/2, 1/4 or 1/8 of its size, but at least
    twice the requested size: several times faster, with a barely visible difference.

    Args:
        file: path or binary file object holding a JPEG, PNG, GIF, BMP, WebP or TIFF.
        image_size: side of the square result in pixels; default: None, as stored.
        channels: 1 or 3; default: 3.

    Returns:
        uint8 array `[h, w, channels]`.

    Raises:
        UnsupportedImage: if the file is not accepted.
        OSError, SyntaxError, ValueError: raised by Pillow, if the file cannot be decoded.
    """
    contents = (
        pathlib.Path(file).read_bytes() if isinstance(file, (str, os.PathLike)) else file.read()
    )
    header = checked_header(contents)
    reduction = 1
    if image_size is not None:
        shorter = min(header.height, header.width)
        reduction = next((r for r in REDUCTIONS if shorter // (2 * image_size) >= r), 1)
    image = read(contents, header, channels=channels, reduction=reduction)
    return _to_array(image, image_size)


def checked_header(contents: bytes | BinaryIO) -> image_header.Header:
    """The `Header` of an image file, if it is accepted.

    Args:
        contents: bytes, or a seekable binary file, of which only the header is read; the scans of a
            JPEG are counted in bytes alone.

    Raises:
        UnsupportedImage: if it is not accepted.
    """
    header = image_header.read_header(contents)
    problem = header.problem
    if isinstance(contents, bytes) and header.buffered:
        too_many = contents.count(image_header.SCAN) > image_header.MAX_SCANS
        problem = problem or image_header.JPEG_SCANS * too_many
    if problem:
        raise UnsupportedImage(image_header.PROBLEMS[problem])
    return header


def read(
    contents: bytes, header: image_header.Header, *, channels: int = 3, reduction: int = 1
) -> Image.Image:
    """Reads the whole image of a file: upright, on white, with 8 bits.

    Args:
        contents: bytes of the file.
        header: its `Header`.
        channels: 1 or 3; default: 3.
        reduction: 1, 2, 4 or 8; a JPEG is decoded at 1/reduction of its size, rounded up;
            default: 1.

    Returns:
        Pillow image of mode "L" or "RGB".

    Raises:
        OSError, SyntaxError, ValueError: raised by Pillow, if the file cannot be decoded.
    """
    with Image.open(io.BytesIO(contents), formats=FORMATS) as image:
        if image.mode not in _MODES and not image.mode.startswith("I;16"):
            raise UnsupportedImage(
                f"a {image.format} with pixels of kind {image.mode!r}, which is not supported"
            )
        if reduction > 1:
            image.draft(None, (header.width // reduction, header.height // reduction))
        image.load()
        seen = _as_seen(image, channels)
    # Pillow rotates TIFFs itself.
    turn = None if header.format == image_header.TIFF else _UPRIGHT.get(header.orientation)
    return seen if turn is None else seen.transpose(turn)


def fit(image: np.ndarray, *, image_size: int | None = None, channels: int = 3) -> np.ndarray:
    """Converts one array to the given size and channels, by the same rules.

    Args:
        image: uint8 array `[h, w, c]` with c 1, 3, or 4 (RGBA).
        image_size: side of the square result in pixels; default: None, h and w stay.
        channels: 1 or 3; default: 3.

    Returns:
        uint8 array `[h', w', channels]`.
    """
    picture = Image.fromarray(
        image[..., 0] if image.shape[-1] == 1 else np.ascontiguousarray(image)
    )
    return _to_array(_as_seen(picture, channels), image_size)


def fit_tensor(image: tf.Tensor, *, image_size: int | None = None, channels: int = 3) -> tf.Tensor:
    """The same as `fit`, in TensorFlow operations.

    Args:
        image: uint8 tensor `[h, w, c]` with a static c of 1, 3, or 4 (RGBA).
        image_size: side of the square result in pixels; default: None, h and w stay.
        channels: 1 or 3; default: 3.

    Returns:
        uint8 tensor `[h', w', channels]`.
    """
    if image.shape[-1] == 4:
        image = convert(_tensor_on_white, image)
    if channels == 1 and image.shape[-1] == 3:
        image = convert(_luma, image)
    if channels == 3 and image.shape[-1] == 1:
        image = tf.tile(image, [1, 1, 3])
    return image if image_size is None else square(image, image_size)


def square(images: tf.Tensor, side: int) -> tf.Tensor:
    """The largest centered square of image tensors, resized as by Pillow.

    Images that already have the right size are left untouched.

    Args:
        images: uint8 `[..., h, w, c]`.
        side: side of the result in pixels.

    Returns:
        uint8 `[..., side, side, c]`.
    """

    def cut_and_resize():
        height, width = tf.unstack(tf.shape(images)[-3:-1])
        shorter = tf.minimum(height, width)
        top, left = (height - shorter) // 2, (width - shorter) // 2
        cut = images[..., top : top + shorter, left : left + shorter, :]
        # Pillow rounds to 8 bits after each axis, and takes the width first.
        return tf.cond(
            shorter == side,
            lambda: cut,
            lambda: _resize_axis(_resize_axis(cut, side, -2), side, -3),
        )

    fits = tf.reduce_all(tf.shape(images)[-3:-1] == side)
    fitted = tf.cond(fits, lambda: images, cut_and_resize)
    return tf.ensure_shape(fitted, [*images.shape[:-3], side, side, images.shape[-1]])


def convert(function: Callable[[tf.Tensor], tf.Tensor], image: tf.Tensor) -> tf.Tensor:
    """Applies a function of pixels to an image, some rows at a time.

    Args:
        function: from int32 `[rows, w, c]` to int32 `[rows, w, c']` in 0 … 255.
        image: integers `[h, w, c]`.

    Returns:
        uint8 `[h, w, c']`.
    """
    channels = function(tf.zeros([1, 1, image.shape[-1]], tf.int32)).shape[-1]

    def of_band(band):
        return tf.cast(function(tf.cast(band, tf.int32)), tf.uint8)

    converted = _in_bands(of_band, image, tf.shape(image)[1])
    return tf.ensure_shape(converted, [*image.shape[:2], channels])


def _in_bands(function, rows, elements):
    """Applies a function to some rows at a time, to bound its memory.

    Args:
        function: from `[n, …]` to uint8 `[n, …]`.
        rows: `[N, …]`.
        elements: int32 scalar, number of elements that one row needs.
    """
    count = tf.shape(rows)[0]
    step = tf.maximum(_BAND // tf.maximum(elements, 1), 1)
    number = (count + step - 1) // step

    def add(i, bands):
        return i + 1, bands.write(i, function(rows[i * step : (i + 1) * step]))

    bands = tf.TensorArray(tf.uint8, number, infer_shape=False)
    _, bands = tf.while_loop(lambda i, _: i < number, add, [0, bands], parallel_iterations=1)
    return bands.concat()


def _as_seen(image, channels):
    """On white, of 8 bits, gray or in color; in bands of rows, since it needs much memory."""
    mode = "L" if channels == 1 else "RGB"
    if image.mode == mode and not image.has_transparency_data:
        return image
    step = max(_BAND // image.width, 1)
    seen = Image.new(mode, image.size)
    for top in range(0, image.height, step):
        band = image.crop((0, top, image.width, min(top + step, image.height)))
        seen.paste(_without_alpha(band).convert(mode), (0, top))
    return seen


def _to_array(image, image_size):
    if image_size is not None and image.size != (image_size, image_size):
        width, height = image.size
        side = min(width, height)
        left, top = (width - side) // 2, (height - side) // 2
        image = image.crop((left, top, left + side, top + side))
        image = image.resize((image_size, image_size), Image.Resampling.BILINEAR)
    return as_array(image)


def as_array(image: Image.Image) -> np.ndarray:
    """The pixels of an image of mode "L" or "RGB", uint8 `[h, w, channels]`.

    In bands of rows, since NumPy would take three times the memory of the result.
    """
    array = np.empty((image.height, image.width, len(image.getbands())), np.uint8)
    step = max(_BAND // max(image.width, 1), 1)
    for top in range(0, image.height, step):
        rows = array[top : top + step]
        band = image.crop((0, top, image.width, top + len(rows))) if len(array) > step else image
        rows[:] = np.asarray(band).reshape(rows.shape)
    return array


def _without_alpha(image):
    if image.mode.startswith("I"):  # 16-bit gray, which Pillow's own conversion would clip
        values = np.asarray(image).astype(np.uint32)
        return Image.fromarray(((values + 128) // 257).astype(np.uint8))
    if image.has_transparency_data:
        rgba = np.asarray(image.convert("RGBA")).astype(np.uint16)
        return Image.fromarray(_on_white(rgba[..., :3], rgba[..., 3:]).astype(np.uint8))
    return image


def _on_white(color, alpha):
    """Rounds to nearest; at most 65,152 before the division, so it fits 16 bits."""
    return (color * alpha + 255 * (255 - alpha) + 127) // 255


def _tensor_on_white(band):
    return _on_white(band[..., :3], band[..., 3:])


def _luma(band):
    return (tf.reduce_sum(band * _LUMA, axis=-1, keepdims=True) + 32768) // 65536


def _resize_axis(images, size, axis):
    """Resizes one axis of uint8 images by a triangle filter, in Pillow's fixed-point numbers."""
    rank = images.shape.rank
    order = [rank + axis] + [i for i in range(rank) if i != rank + axis]
    rows = tf.transpose(images, order)
    length, rest = tf.shape(rows)[0], tf.shape(rows)[1:]
    rows = tf.reshape(rows, [length, -1])
    first, weights = _triangle_weights(length, size)

    def of_band(band):
        """Result pixels `[band]` of the axis."""
        at = tf.gather(first, band)[:, tf.newaxis] + tf.range(tf.shape(weights)[1])
        taken = tf.cast(tf.gather(rows, tf.minimum(at, length - 1)), tf.int32)
        total = tf.reduce_sum(taken * tf.gather(weights, band)[:, :, tf.newaxis], axis=1)
        rounded = tf.bitwise.right_shift(total + 2 ** (_WEIGHT_BITS - 1), _WEIGHT_BITS)
        return tf.cast(tf.clip_by_value(rounded, 0, 255), tf.uint8)

    resized = _in_bands(of_band, tf.range(size), tf.size(weights) // size * tf.shape(rows)[1])
    return tf.transpose(tf.reshape(resized, tf.concat([[size], rest], 0)), np.argsort(order))


def _triangle_weights(length, size):
    """The pixels of an axis that contribute to each pixel of the result, with their weights.

    Args:
        length: int32 scalar, length of the axis.
        size: length of the result.

    Returns:
        (int32 `[size]`, first contributing pixel; int32 `[size, taps]`, weights of the pixels from
        there on, in units of 1/2**22).
    """
    scale = tf.cast(length, tf.float64) / size
    support = tf.maximum(scale, 1.0)
    center = (tf.range(size, dtype=tf.float64) + 0.5) * scale
    first = tf.cast(tf.maximum(center - support + 0.5, 0.0), tf.int32)
    end = tf.minimum(tf.cast(center + support + 0.5, tf.int32), length)
    pixel = first[:, tf.newaxis] + tf.range(2 * tf.cast(tf.math.ceil(support), tf.int32) + 1)
    distance = tf.cast(pixel, tf.float64) - center[:, tf.newaxis] + 0.5
    weights = tf.maximum(1.0 - tf.abs(distance * (1.0 / support)), 0.0)
    weights = tf.where(pixel < end[:, tf.newaxis], weights, 0.0)
    weights /= tf.reduce_sum(weights, axis=1, keepdims=True)
    return first, tf.cast(weights * 2**_WEIGHT_BITS + 0.5, tf.int32)
