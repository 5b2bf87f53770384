"""Parses the header of an image file, before any pixel is decoded.

Training reads files with Pillow, serving with TensorFlow. Both ask this parser first: it determines
the format, the size and the orientation, and whether the file is accepted. It is written once, for
Python's integers and, traced by AutoGraph, for tensors; hence `&` in place of `and`, and no
`return` or `break` within loops. Every loop is bounded, whatever the file contains.
"""

from __future__ import annotations

from typing import BinaryIO, NamedTuple

import tensorflow as tf

from cl_keras.data.image_bytes import FileBytes, GraphBytes

MAX_PIXELS = 25_000_000
"""Maximum number of pixels, height × width, to decode. Decoders take up to 8 bytes per pixel, 200
MB: a whole image with transparency and another without it."""

MAX_JPEG_PIXELS = 50_000_000
"""The same for a JPEG with a single scan, as cameras write it: 3 or 4 bytes per pixel. With several
scans, decoders also hold the coefficients, 6 bytes per pixel."""

MAX_WEBP_PIXELS = 12_500_000
"""The same for a WebP: Pillow's decoder takes 16 bytes per pixel."""

MAX_SCANS = 100
"""Maximum number of scans of a JPEG; 1 is usual, or 10 for a progressive one. A scan of 20 bytes
can take as long as one of a megabyte, so a small file with many could block a process for
minutes."""

SCAN = b"\xff\xda"
"""Marker with which a scan begins. It does not occur in the data of a scan."""

MAX_STEPS = 4096  # segments, chunks or blocks of a file that are parsed
MAX_ENTRIES = 256  # of a TIFF directory
BASELINE, PROGRESSIVE, OTHER = 1, 2, 3  # coding of a JPEG
ORIENTATION, WIDTH, HEIGHT = 0x0112, 0x0100, 0x0101  # TIFF tags

UNKNOWN, JPEG, PNG, GIF, BMP, WEBP, TIFF = range(7)
FORMATS = ("", "JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF")
"""Pillow's name of each format."""

_NO = False  # for comparisons, since `not` would make a branch in the graph

_OTHERS = (  # formats that are recognized but not read: offset and bytes of their signature
    ("HEIC", 4, b"ftypheic"),
    ("HEIC", 4, b"ftypheix"),
    ("HEIF", 4, b"ftypmif1"),
    ("AVIF", 4, b"ftypavif"),
    ("AVIF", 4, b"ftypavis"),
    ("JPEG XL", 0, b"\xff\x0a"),
    ("JPEG XL", 4, b"JXL "),
    ("JPEG 2000", 4, b"jP  "),
    ("JPEG 2000", 0, b"\xff\x4f\xff\x51"),
    ("Photoshop", 0, b"8BPS"),
    ("PDF", 0, b"%PDF"),
    ("SVG", 0, b"<svg"),
    ("icon", 0, b"\0\0\1\0"),
    ("BigTIFF", 0, b"II+\0"),
    ("BigTIFF", 0, b"MM\0+"),
)

FINE, EMPTY, UNRECOGNIZED, DAMAGED, TOO_LARGE, JPEG_CODING, JPEG_SCANS = range(7)
PNG_GRAY, PNG_COLOR, GIF_FRAME, WEBP_FRAME, BMP_KIND = range(7, 12)
PROBLEMS = (
    "",
    "empty file",
    "not a JPEG, PNG, GIF, BMP, WebP or TIFF image",
    "an image whose header is damaged or cut off",
    f"an image of too many pixels; the maximum is {MAX_PIXELS:,}, for a WebP {MAX_WEBP_PIXELS:,}, "
    f"and for a JPEG that is not progressive {MAX_JPEG_PIXELS:,}",
    "a JPEG with 12 bits per sample, or arithmetic or lossless coding, which is not supported",
    f"a JPEG of more than {MAX_SCANS} scans, the maximum that is decoded",
    "a PNG of fewer than 8 bits with a transparent gray, which is not supported",
    "a PNG of 16 bits with a transparent color, which is not supported",
    "a GIF whose first frame does not fill its canvas, which is not supported",
    "an animated WebP whose first frame does not fill its canvas, which is not supported",
    "a BMP that is compressed, of 16 bits, or of OS/2, which is not supported",
    *(f"in {name} format, which is not supported; convert it to PNG" for name, _, _ in _OTHERS),
)
"""What is wrong with a file, by `Header.problem`: each continues "It is …"."""


class Header(NamedTuple):
    """The header of an image file; all fields are integers, or int32 scalars in a graph.

    Attributes:
        format: index into `FORMATS`.
        height: in pixels, as stored: before the orientation is applied.
        width: likewise.
        orientation: EXIF orientation, 1 (upright) to 8.
        problem: index into `PROBLEMS`; 0 if there is none.
        frame: offset in bytes of the first frame of a GIF or an animated WebP, else 0.
        transparent: 1 + the transparent index of a GIF; 1 for a PNG or WebP with transparency.
        buffered: 1 for a JPEG with several scans, of which a decoder holds all coefficients.
    """

    format: int
    height: int
    width: int
    orientation: int
    problem: int
    frame: int
    transparent: int
    buffered: int = 0


def read_header(file: bytes | BinaryIO) -> Header:
    """Parses the header of an image file.

    Args:
        file: bytes, or a seekable binary file.

    Returns:
        `Header` of integers, whatever the file contains.

    Raises:
        OSError: if the file cannot be read.
    """
    return parse(FileBytes(file))


@tf.function(input_signature=[tf.TensorSpec([], tf.string)])
def read_header_in_graph(contents):
    """`read_header` for a scalar string tensor, in a graph: a `Header` of int32 scalars."""
    return parse(GraphBytes(contents))


def parse(data):
    """The `Header` of a `FileBytes` or `GraphBytes`."""
    if data.has(0, b"\xff\xd8\xff"):
        header = _jpeg(data)
    elif data.has(0, b"\x89PNG\r\n\x1a\n"):
        header = _png(data)
    elif data.has(0, b"GIF87a") | data.has(0, b"GIF89a"):
        header = _gif(data)
    elif data.has(0, b"BM"):
        header = _bmp(data)
    elif data.has(0, b"RIFF") & data.has(8, b"WEBP"):
        header = _webp(data)
    elif data.has(0, b"II*\0") | data.has(0, b"MM\0*"):
        header = _tiff(data)
    else:
        header = Header(UNKNOWN, 1, 1, 1, _unsupported(data), 0, 0)
    return _checked(header, data)


def _checked(header, data):
    """The header with a valid orientation, and with a problem if the size is impossible."""
    valid = (header.orientation >= 1) & (header.orientation <= 8)
    problem = header.problem
    # The area is compared by division, which cannot overflow.
    single_scan = (header.format == JPEG) & (header.buffered == 0)
    most = data.pick(header.format == WEBP, MAX_WEBP_PIXELS, MAX_PIXELS)
    most = data.pick(single_scan, MAX_JPEG_PIXELS, most)
    too_large = header.width > most // data.maximum(header.height, 1)
    problem = data.pick((problem == FINE) & too_large, TOO_LARGE, problem)
    no_size = (header.width < 1) | (header.height < 1)
    problem = data.pick((problem == FINE) & no_size, DAMAGED, problem)
    return header._replace(orientation=data.pick(valid, header.orientation, 1), problem=problem)


def _unsupported(data):
    problem = data.pick(data.size == 0, EMPTY, UNRECOGNIZED)
    for i, (_, at, signature) in enumerate(_OTHERS):
        problem = data.pick(data.has(at, signature), BMP_KIND + 1 + i, problem)
    return problem


def _tag(data, start, end, tag):
    """The 16- or 32-bit value of a tag in the first directory of a TIFF block; 0 if missing."""
    big = data.has(start, b"MM")
    at = start + data.number(start + 4, 4, big)
    count = data.minimum(data.number(at, 2, big), MAX_ENTRIES)
    value, i = 0, 0
    while (i < count) & (value == 0):
        entry = at + 2 + 12 * i
        kind = data.number(entry + 2, 2, big)
        short, long = data.number(entry + 8, 2, big), data.number(entry + 8, 4, big)
        found = (data.number(entry, 2, big) == tag) & (entry + 12 <= end)
        value = data.pick(found & (kind == 3), short, value)
        value = data.pick(found & (kind == 4), long, value)
        i += 1
    valid = data.number(start + 2, 2, big) == 42
    return data.pick(valid & (data.has(start, b"II") | big), value, 0)


def _jpeg(data):
    at, step, before_pixels = 2, 0, data.size > 2
    height, width, coding, orientation, components, buffered = 0, 0, 0, 0, 0, 1
    while (at < data.size) & (step < MAX_STEPS) & before_pixels:
        marker, length = data.number(at + 1, 1), data.number(at + 2, 2, True)
        # Stray bytes between segments are skipped; a few segments have no length.
        segment = data.has(at, b"\xff") & (marker != 0xFF) & (marker != 0)
        alone = (marker == 0x01) | ((marker >= 0xD0) & (marker <= 0xD7))
        tables = (marker == 0xC4) | (marker == 0xC8) | (marker == 0xCC)
        is_frame = segment & (marker >= 0xC0) & (marker <= 0xCF) & (tables == _NO)
        if is_frame & (coding == 0):
            height, width = data.number(at + 5, 2, True), data.number(at + 7, 2, True)
            common = (marker <= 0xC2) & (data.number(at + 4, 1) == 8)
            coding = data.pick(common, data.pick(marker == 0xC2, PROGRESSIVE, BASELINE), OTHER)
            components = data.number(at + 9, 1)
        if segment & (marker == 0xE1) & data.has(at + 4, b"Exif\0\0") & (orientation == 0):
            orientation = _tag(data, at + 10, at + 2 + length, ORIENTATION)
        first_scan = segment & (marker == 0xDA)
        single = first_scan & (coding == BASELINE) & (data.number(at + 4, 1) == components)
        buffered = data.pick(single, 0, 1)
        before_pixels = (first_scan | (segment & (marker == 0xD9))) == _NO
        at += data.pick(segment, data.pick(alone, 2, 2 + data.maximum(length, 2)), 1)
        step += 1
    problem = data.pick(coding == OTHER, JPEG_CODING, FINE)
    return Header(JPEG, height, width, orientation, problem, 0, 0, buffered)


def _png(data):
    width, height = data.number(16, 4, True), data.number(20, 4, True)
    depth, color = data.number(24, 1), data.number(25, 1)
    at, step, orientation, transparent = 8, 0, 0, 0
    while (at < data.size) & (step < MAX_STEPS):
        length = data.number(at, 4, True)
        if data.has(at + 4, b"eXIf") & (orientation == 0):
            orientation = _tag(data, at + 8, at + 8 + length, ORIENTATION)
        transparent = data.pick(data.has(at + 4, b"tRNS"), 1, transparent)
        at = data.pick(data.has(at + 4, b"IEND"), data.size, at + 12 + length)
        step += 1
    problem = data.pick(data.has(12, b"IHDR"), FINE, DAMAGED)
    # Pillow and TensorFlow both compare the transparent value with pixels on another scale.
    low = (transparent == 1) & (color == 0) & (depth < 8)
    high = (transparent == 1) & ((color == 0) | (color == 2)) & (depth == 16)
    problem = data.pick(low, PNG_GRAY, data.pick(high, PNG_COLOR, problem))
    transparent = data.pick((color == 4) | (color == 6), 1, transparent)
    return Header(PNG, height, width, orientation, problem, 0, transparent)


def _gif(data):
    width, height = data.number(6, 2), data.number(8, 2)
    at = 13 + color_table_bytes(data, 10)
    transparent, step = 0, 0
    while data.has(at, b"!") & (step < MAX_STEPS):  # extensions
        if data.has(at + 1, b"\xf9"):
            index = 1 + data.number(at + 6, 1)
            transparent = data.pick(data.number(at + 3, 1) % 2 == 1, index, 0)
        at, step = skip_gif_blocks(data, at + 2, step + 1)
    fills = (data.number(at + 1, 4) == 0) & (data.number(at + 5, 2) == width)
    fills = fills & (data.number(at + 7, 2) == height)
    found = data.has(at, b",") & (at + 10 < data.size)
    problem = data.pick(found, data.pick(fills, FINE, GIF_FRAME), DAMAGED)
    return Header(GIF, height, width, 1, problem, at, transparent)


def color_table_bytes(data, at):
    """Length in bytes of the GIF color table that the flags at an offset announce."""
    flags = data.number(at, 1)
    size = data.gather((6, 12, 24, 48, 96, 192, 384, 768), flags % 8)
    return data.pick(flags >= 128, size, 0)


def skip_gif_blocks(data, at, step=0, limit=MAX_STEPS):
    """(offset after a chain of GIF blocks, steps taken); beyond the end if it is cut off."""
    length = data.number(at, 1)
    while (length > 0) & (at < data.size) & (step < limit):
        at, step = at + 1 + length, step + 1
        length = data.number(at, 1)
    cut = (at >= data.size) | (length > 0)
    return data.pick(cut, data.size + 1, at + 1), step


def _bmp(data):
    size, width, height = data.number(14, 4), data.number(18, 4), data.number(22, 4)
    # A negative height means that the rows go from the top down.
    negative = data.number(24, 2) == 0xFFFF
    height = data.pick(negative, 65536 - data.number(22, 2), height)
    bits, compression = data.number(28, 2), data.number(30, 4)
    known = (bits == 1) | (bits == 4) | (bits == 8) | (bits == 24) | (bits == 32)
    sizes = (size == 40) | (size == 52) | (size == 56) | (size == 108) | (size == 124)
    # 32-bit masks: blue, green, red from the lowest byte up, the same as without masks.
    masks = data.has(54, b"\0\0\xff\0\0\xff\0\0\xff\0\0\0") & (bits == 32)
    no_alpha = (size == 40) | (size == 52) | data.has(66, b"\0\0\0\0")
    plain = (compression == 0) | ((compression == 3) & masks & no_alpha)
    problem = data.pick(known & sizes & plain, FINE, BMP_KIND)
    return Header(BMP, height, width, 1, problem, 0, 0)


def _webp(data):
    at, step, orientation, frame = 12, 0, 0, 0
    width, height, transparent = 0, 0, 0
    extended = data.has(12, b"VP8X")
    flags = data.number(20, 1)
    while (at < data.size) & (step < MAX_STEPS):
        length, body = data.number(at + 4, 4), at + 8
        if data.has(at, b"VP8 "):
            width = data.pick(step == 0, data.number(body + 6, 2) % 16384, width)
            height = data.pick(step == 0, data.number(body + 8, 2) % 16384, height)
        if data.has(at, b"VP8L") & (step == 0):
            bits = data.number(body + 1, 4)
            width, height = bits % 16384 + 1, bits // 16384 % 16384 + 1
            transparent = bits // 2**28 % 2
        if data.has(at, b"EXIF") & (orientation == 0):
            block = data.pick(data.has(body, b"Exif\0\0"), body + 6, body)
            orientation = _tag(data, block, body + length, ORIENTATION)
        frame = data.pick(data.has(at, b"ANMF") & (frame == 0), at, frame)
        at, step = body + length + length % 2, step + 1
    width = data.pick(extended, data.number(24, 3) + 1, width)
    height = data.pick(extended, data.number(27, 3) + 1, height)
    transparent = data.pick(extended, flags // 16 % 2, transparent)
    animated = extended & (flags // 2 % 2 == 1)
    fills = (data.number(frame + 8, 3) == 0) & (data.number(frame + 11, 3) == 0)
    fills = fills & (data.number(frame + 14, 3) == width - 1)
    fills = fills & (data.number(frame + 17, 3) == height - 1)
    problem = data.pick(animated & (fills == _NO), WEBP_FRAME, FINE)
    # Frames without the flag, or the flag without frames: decoders disagree about such files.
    problem = data.pick(animated == (frame > 0), problem, DAMAGED)
    return Header(WEBP, height, width, orientation, problem, frame, transparent)


def _tiff(data):
    width, height, orientation = (
        _tag(data, 0, data.size, tag) for tag in (WIDTH, HEIGHT, ORIENTATION)
    )
    return Header(TIFF, height, width, orientation, FINE, 0, 0)
