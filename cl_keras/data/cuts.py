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
    data: bytes, index: int, sizes: Sequence[int], draw: Draw, *, channels: int = 3
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
    boxes, flips = draw(height, width, index)
    reduction = 1
    if header.format == image_header.JPEG:
        reduction = _reduction(boxes, sizes)
    pixels = _decoded(data, header, channels, reduction)
    # A reduced JPEG is padded beyond its edge; once rotated, the padding may come first.
    above = (pixels.shape[0] * reduction - height) * (header.orientation in TURNED_DOWN)
    before = (pixels.shape[1] * reduction - width) * (header.orientation in TURNED_LEFT)
    crops = []
    for (y, x, box_height, box_width), flip, size in zip(boxes, flips, sizes, strict=True):
        edges = np.array([y, x, y + box_height, x + box_width])
        edges = (edges + [above, before, above, before]) / reduction
        top, left, bottom, right = np.clip(edges, 0, pixels.shape[:2] * 2)
        box = np.array([top, left, bottom - top, right - left], np.float32)
        crop = np.empty((size, size, channels), np.uint8)
        crop_kernel.cut_bytes(pixels, *box, bool(flip), crop)
        crops.append(crop)
    return crops


def _decoded(data, header, channels, reduction):
    """The whole image, upright: uint8 `[h, w, channels]`."""
    if header.format == image_header.JPEG and channels == 3 and header.orientation == 1:
        with Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
            is_color = image.mode == "RGB"
        if is_color:  # the same pixels as Pillow's, in two thirds of the time
            with contextlib.suppress(tf.errors.InvalidArgumentError), tf.device("CPU:0"):
                # What it refuses is decoded below, or refused there with a reason.
                return tf.io.decode_jpeg(
                    data, channels=3, ratio=reduction, dct_method="INTEGER_ACCURATE"
                ).numpy()
    return as_array(read(data, header, channels=channels, reduction=reduction))


def _reduction(boxes, sizes) -> int:
    """The largest reduction that leaves each box at least the pixels of its crop."""
    spare = min(min(box[2:]) / size for box, size in zip(boxes, sizes, strict=True))
    return next((r for r in REDUCTIONS if r <= spare), 1)
