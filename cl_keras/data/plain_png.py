"""Decodes small PNG files of the plainest kind, many in one call.

For an image of 32 pixels, Pillow spends twice as long in Python as on its pixels, and meanwhile
keeps all other threads from running. The pixels are Pillow's; whatever is not plain, or not exactly
as it should be, is left to Pillow.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

MAX_BYTES = 2**16
"""Maximum size of a file, and of its image. Larger images take Pillow little Python, relatively."""

START = 33  # bytes before the pixels
END = b"\0\0\0\0IEND\xaeB`\x82"
DAMAGED = b"\xff"  # a row of no kind that exists


class PlainPng(NamedTuple):
    """A file that is yet to be decoded.

    Attributes:
        compressed: the rows of pixels, in the format of zlib.
        channels: 1 or 3.
    """

    compressed: bytes
    channels: int


class PlainPngs:
    """Decodes PNG files of one size: not interlaced, 8 bits, gray or in color, no metadata.

    Args:
        shape: (height, width, channels) of the images; a gray file can have 3 channels.
    """

    def __init__(self, shape: tuple[int, int, int]):
        self._shape = shape
        self._channels = {_head(*shape[:2], stored): stored for stored in (1, shape[2])}

    def recognize(self, data: bytes) -> PlainPng | None:
        """The file, if it looks plain.

        Args:
            data: the whole file.
        """
        channels = self._channels.get(data[:START])
        if channels is None or len(data) > MAX_BYTES or not data.endswith(END):
            return None
        pixels = data[START + 8 : -4 - len(END)]  # if they are in one chunk; without its checksum
        is_chunk = data.startswith(struct.pack(">I4s", len(pixels), b"IDAT"), START)
        return PlainPng(pixels, channels) if is_chunk else None

    def decode(self, files: Sequence[PlainPng]) -> tuple[np.ndarray, np.ndarray]:
        """Decodes files.

        Returns:
            uint8 `[n, h, w, c]`, and bool `[n]`, whether each file was intact; the pixels of others
            are undefined.
        """
        from cl_keras.data import png_kernel  # takes a while to load

        height, width, _ = self._shape
        rows = b"".join(
            _inflated(file.compressed, height * (1 + width * file.channels)) for file in files
        )
        stored = np.array([file.channels for file in files])
        images = np.empty((len(files), *self._shape), np.uint8)
        intact = np.empty(len(files), bool)
        png_kernel.reconstruct(np.frombuffer(rows, np.uint8), stored, images, intact)
        return images, intact


def suits(shape: tuple[int, int, int]) -> bool:
    """Whether images of a shape are small enough."""
    height, width, channels = shape
    return height * width * channels <= MAX_BYTES


def _head(height, width, channels):
    """The first `START` bytes of a plain file."""
    color = {1: 0, 3: 2}[channels]
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, color, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n\0\0\0\r" + header + struct.pack(">I", zlib.crc32(header))


def _inflated(compressed, size):
    """Exactly `size` bytes, whatever the stream holds."""
    stream = zlib.decompressobj()
    try:
        rows = stream.decompress(compressed, size + 1)
    except zlib.error:
        return DAMAGED * size
    whole = len(rows) == size and stream.eof and not stream.unused_data
    return rows if whole else DAMAGED * size
