"""Cuts crops from an image file at full resolution, while it is decoded."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import tensorflow as tf
from PIL import Image

from cl_keras.data import image_header
from cl_keras.data.pixels import REDUCTIONS, as_array, checked_header, read

TURNED_DOWN = (3, 4, 7, 8)
"""EXIF orientations in which the last stored row or column becomes the first row."""

TURNED_LEFT = (2, 3, 6, 7)
"""EXIF orientations in which the last stored column or row becomes the first column."""


class Cropper(Protocol):
    """Draws the crops of an image: a pure function of its arguments that can be pickled."""

    @property
    def sizes(self) -> tuple[int, ...]:
        """Side in pixels of each crop after resizing."""

    def __call__(
        self, height: int, width: int, *, epoch: int, index: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Boxes `[v, 4]` (y, x, height, width in pixels of the upright image, fractions allowed)
        and flips `[v]`, whether each crop is mirrored left to right."""


class Draw(Protocol):
    """A `Cropper` of one epoch."""

    def __call__(self, height: int, width: int, index: int) -> tuple[np.ndarray, np.ndarray]:
        """See `Cropper`."""


def draw_in_epoch(
    cropper: Cropper, epoch: int, height: int, width: int, index: int
) -> tuple[np.ndarray, np.ndarray]:
    """The draw of a cropper; a `functools.partial` of this function is a `Draw`."""
    return cropper(height, width, epoch=epoch, index=index)


def cut(
    data: bytes,
    index: int,
    sizes: Sequence[int],
    draw: Draw,
    *,
    channels: int = 3,
    out: Sequence[np.ndarray] | None = None,
) -> list[np.ndarray]:
    """Decodes an image file once, and cuts and resizes its crops.

    A JPEG is decoded at 1/2, 1/4 or 1/8 of its size if that leaves enough pixels for every crop.
    Each box is resized by a triangle filter, antialiased, as in the views.

    Args:
        data: content of the file.
        index: index of the image.
        sizes: side in pixels of each crop.
        draw: gives the boxes, in pixels of the image at full size, and the flips.
        channels: 1 or 3; default: 3.
        out: arrays to fill and return; default: None, new ones.

    Returns:
        uint8 `[size, size, channels]` for each of `sizes`.

    Raises:
        UnsupportedImage: the file is not accepted.
        OSError, SyntaxError, ValueError: raised by Pillow, if the file cannot be decoded.
    """
    from cl_keras.data import crop_kernel  # takes a while to load

    header = checked_header(data)
    height, width = header.height, header.width
    if header.orientation >= 5:
        height, width = width, height
    boxes, flips = (np.asarray(part).tolist() for part in draw(height, width, index))
    reduction = 1
    if header.format == image_header.JPEG:
        reduction = _reduction(boxes, sizes)
    pixels = _decoded(data, header, channels, reduction)
    rows, columns = pixels.shape[:2]
    # A reduced JPEG is padded beyond its edge; once rotated, the padding may come first.
    above = (rows * reduction - height) * (header.orientation in TURNED_DOWN)
    before = (columns * reduction - width) * (header.orientation in TURNED_LEFT)
    crops = out or [np.empty((size, size, channels), np.uint8) for size in sizes]
    for (y, x, box_height, box_width), flip, crop in zip(boxes, flips, crops, strict=True):
        top, bottom = _part(y + above, box_height, reduction, rows)
        left, right = _part(x + before, box_width, reduction, columns)
        box = (np.float32(number) for number in (top, left, bottom - top, right - left))
        crop_kernel.cut_bytes(pixels, *box, bool(flip), crop)
    return list(crops)


def _decoded(data, header, channels, reduction):
    """The whole image, upright: uint8 `[h, w, channels]`, read-only."""
    if header.format == image_header.JPEG and channels == 3 and header.orientation == 1:
        with Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
            is_color = image.mode == "RGB"
        if is_color:  # the same pixels as Pillow's, in two thirds of the time
            with contextlib.suppress(tf.errors.InvalidArgumentError), tf.device("CPU:0"):
                # What it refuses is decoded below, or refused there with a reason.
                # As `tf.io.decode_jpeg`, which takes twice as long to call.
                tensor = tf.raw_ops.DecodeJpeg(
                    contents=data, channels=3, ratio=reduction, dct_method="INTEGER_ACCURATE"
                )
                return np.asarray(memoryview(tensor))  # numpy() would copy it
    pixels = as_array(read(data, header, channels=channels, reduction=reduction))
    pixels.flags.writeable = False
    return pixels


def _part(start, length, reduction, limit):
    """(start, end) of a side of a box after the reduction, within an axis of `limit` pixels."""
    ends = start / reduction, (start + length) / reduction
    return tuple(min(max(end, 0.0), limit) for end in ends)


def _reduction(boxes, sizes) -> int:
    """The largest reduction that leaves each box at least the pixels of its crop."""
    spare = min(min(box[2:]) / size for box, size in zip(boxes, sizes, strict=True))
    return next((r for r in REDUCTIONS if r <= spare), 1)
