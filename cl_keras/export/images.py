"""Decodes and resizes images for a served encoder, as graph operations.

The rules are those of `cl_keras.data.pixels`, so a served image looks the same as in training. No
file can crash the process or fail the request of others: a file with an unaccepted header never
reaches a decoder, and an error of a decoder only affects its own row.
"""

import functools
from collections.abc import Callable

import tensorflow as tf

from cl_keras.data import image_header, pixels
from cl_keras.data.image_bytes import GraphBytes

UNDECODABLE = "an image that is damaged or cut off, or that this TensorFlow cannot decode"
TIFF = "a TIFF image, which is not served; convert it to PNG"

PARALLEL = 4
"""Number of images of a request to decode at the same time; more would need more memory."""

MAX_GIF_BLOCKS = 2**15
"""Maximum number of blocks of 255 bytes in the first frame of a GIF: 8 MB."""

_BYTES = [bytes([i]) for i in range(256)]


@functools.cache
def decoder(channels: int, side: int | None = None) -> Callable:
    """A graph function that decodes one image; it raises an error if a file is damaged.

    Args:
        channels: 1 (gray) or 3 (RGB).
        side: side of the square result in pixels; default: None, as stored.

    Returns:
        A concrete function from a scalar string, the content of a file, to the image, uint8
        `[h, w, channels]`, and a scalar string, the problem with the file. If that is not empty,
        the image is meaningless.
    """
    function = tf.function(lambda contents: _decode(contents, channels, side))
    with tf.init_scope():  # traced once for all graphs that it stands in, which takes seconds
        return function.get_concrete_function(tf.TensorSpec([], tf.string))


def decode(contents: tf.Tensor, channels: int, side: int | None = None) -> tf.Tensor:
    """Decodes an image to uint8 `[h, w, channels]`; see `decoder`.

    Raises:
        InvalidArgumentError: if the file is not accepted, or damaged.
    """
    image, problem = decoder(channels, side)(contents)
    with tf.control_dependencies([tf.debugging.Assert(problem == "", ["It is", problem])]):
        return tf.identity(image)


def _decode(contents, channels, side):
    header = image_header.read_header_in_graph(contents)
    header = image_header.Header(*header)
    number = tf.where(_has_too_many_scans(contents, header), image_header.JPEG_SCANS, 0)
    number = tf.where(header.problem == 0, number, header.problem)
    problem = tf.gather(tf.constant(image_header.PROBLEMS), number)
    is_tiff = (header.format == image_header.TIFF) & (number == 0)
    problem = tf.where(is_tiff, TIFF, problem)

    def rgb():
        decoders = [  # in the order of image_header.FORMATS, from JPEG on
            lambda: _decode_jpeg(contents, header, side),
            lambda: _decode_png(contents, header),
            lambda: _decode_gif(contents, header),
            lambda: _decode_bmp(contents, header),
            lambda: _decode_webp(contents, header),
        ]
        image = tf.switch_case(header.format - image_header.JPEG, decoders)
        image = _upright(tf.ensure_shape(image, [None, None, 3]), header.orientation)
        return pixels.fit_tensor(image, image_size=side, channels=channels)

    blank = tf.zeros([side or 1, side or 1, channels], tf.uint8)
    return tf.cond(problem == "", rgb, lambda: blank), problem


def attempt_each(
    function: Callable, rows: tf.Tensor, otherwise: tuple[tf.Tensor, ...]
) -> tuple[tf.Tensor, ...]:
    """Applies a function to each row, with a substitute for rows in which it raises an error.

    Args:
        function: from one row to a tuple of tensors, with the same shapes for all rows.
        rows: string `[n]`.
        otherwise: the substitute, a tuple of tensors of the same types and shapes.

    Returns:
        Tuple of tensors, each with n rows.
    """
    # In a graph, only datasets can continue after an error of an operation. The last element is
    # added because there is no empty batch.
    count = tf.size(rows, out_type=tf.int64)
    tried = tf.data.Dataset.from_tensor_slices(rows).enumerate()
    tried = tried.map(
        lambda i, row: (i, *function(row)), num_parallel_calls=PARALLEL
    ).ignore_errors()
    last = tf.data.Dataset.from_tensors((count, *otherwise))
    indices, *results = tried.concatenate(last).batch(count + 1).get_single_element()
    filled = []
    for result, value in zip(results, otherwise, strict=True):
        blank = tf.repeat(value[tf.newaxis], count, axis=0)
        row = tf.ensure_shape(result, [None, *value.shape])[:-1]
        filled.append(tf.tensor_scatter_nd_update(blank, indices[:-1, tf.newaxis], row))
    return tuple(filled)


def _has_too_many_scans(contents, header):
    parts = tf.cond(
        (header.format == image_header.JPEG) & (header.buffered == 1),
        lambda: tf.size(tf.strings.split(contents, image_header.SCAN)),
        lambda: 1,
    )
    return parts > image_header.MAX_SCANS + 1


def _decode_jpeg(contents, header, side):
    # TensorFlow's default transform is faster, but differs from Pillow by up to 5 levels.
    def reduced(ratio):
        options = {"channels": 3, "ratio": ratio, "dct_method": "INTEGER_ACCURATE"}
        return lambda: tf.io.decode_jpeg(contents, **options)

    if side is None:
        return reduced(1)()
    enough = tf.minimum(header.height, header.width) // (2 * side)
    cases = [(enough >= ratio, reduced(ratio)) for ratio in pixels.REDUCTIONS]
    return tf.case(cases, default=reduced(1))


def _decode_png(contents, header):
    data = GraphBytes(contents)
    gray_16 = (data.number(24, 1) == 16) & (data.number(25, 1) == 0)

    def scaled():
        values = tf.io.decode_png(contents, channels=1, dtype=tf.uint16)
        return tf.repeat(pixels.convert(lambda band: (band + 128) // 257, values), 3, axis=-1)

    return tf.case(
        [
            (gray_16, scaled),
            (
                header.transparent == 1,
                lambda: pixels.fit_tensor(tf.io.decode_png(contents, channels=4)),
            ),
        ],
        # For a PNG without alpha, TensorFlow would add one that is near 0.
        default=lambda: tf.io.decode_png(contents, channels=3),
    )


def _decode_gif(contents, header):
    """The first frame, with white in place of the transparent color."""
    data, frame = GraphBytes(contents), header.frame
    shared = image_header.color_table_bytes(data, 10)
    own = image_header.color_table_bytes(data, frame + 9)
    # After the frame's own colors come the size of its codes, and blocks of them.
    end, _ = _skip_gif_blocks(contents, frame + 10 + own + 1)
    complete = tf.debugging.Assert(end <= data.size, ["The GIF is cut off."])
    with tf.control_dependencies([complete]):
        head = tf.strings.substr(contents, 0, 13 + shared)
    body = tf.strings.substr(contents, frame, end - frame)
    entry = 3 * (header.transparent - 1)
    in_own, in_shared = (entry >= 0) & (entry < own), (entry >= 0) & (entry < shared)
    body = tf.where(in_own, _with_white(body, 10 + entry), body)
    head = tf.where(in_shared & (own == 0), _with_white(head, 13 + entry), head)
    still = tf.strings.join([head, body, b";"])
    image = tf.io.decode_image(still, channels=3, expand_animations=False)
    return tf.ensure_shape(image, [None, None, 3])


@tf.function(input_signature=[tf.TensorSpec([], tf.string), tf.TensorSpec([], tf.int32)])
def _skip_gif_blocks(contents, at):
    return image_header.skip_gif_blocks(GraphBytes(contents), at, 0, MAX_GIF_BLOCKS)


def _with_white(contents, at):
    size = tf.strings.length(contents)
    at = tf.clip_by_value(at, 0, size)
    rest = tf.minimum(at + 3, size)
    before, after = tf.strings.substr(contents, 0, at), tf.strings.substr(contents, rest, size)
    return tf.strings.join([before, b"\xff\xff\xff", after])


def _decode_bmp(contents, header):
    """Decodes uncompressed BMPs; TensorFlow's decoder takes indices into a palette for gray."""
    data = GraphBytes(contents)
    height, width = header.height, header.width
    offset, bits = data.number(10, 4), data.number(28, 2)
    stride = (width * bits + 31) // 32 * 4
    octets = tf.io.decode_raw(tf.strings.substr(contents, offset, stride * height), tf.uint8)
    rows = tf.reshape(octets, [height, stride])
    from_top = data.number(24, 2) == 0xFFFF  # a negative height
    rows = tf.cond(from_top, lambda: rows, lambda: rows[::-1])

    def looked_up(count):
        """Colors by palette: each byte has `count` indices, the first in the highest bits."""
        start = 14 + data.number(14, 4)
        table = tf.io.decode_raw(tf.strings.substr(contents, start, offset - start), tf.uint8)
        table = tf.pad(table, [[0, 1024]])[:1024]
        colors = tf.reshape(table, [256, 4])[:, 2::-1]
        shifts = tf.constant([8 // count * i for i in reversed(range(count))], tf.uint8)
        parts = tf.bitwise.right_shift(rows[:, :, tf.newaxis], shifts)
        parts = tf.bitwise.bitwise_and(parts, tf.constant(2 ** (8 // count) - 1, tf.uint8))
        indices = tf.reshape(parts, [height, -1, 1])[:, :width]
        return pixels.convert(
            lambda band: tf.gather(tf.cast(colors, tf.int32), band[..., 0]), indices
        )

    def direct(count):
        values = tf.reshape(rows[:, : width * count], [height, width, count])
        return values[..., 2::-1]

    return tf.case(
        [
            (bits == 1, lambda: looked_up(8)),
            (bits == 4, lambda: looked_up(2)),
            (bits == 8, lambda: looked_up(1)),
            (bits == 24, lambda: direct(3)),
        ],
        default=lambda: direct(4),
    )


def _decode_webp(contents, header):
    """Decodes the first frame of an animation as a separate file.

    TensorFlow's decoder of animations writes beyond its memory, which crashes the process.
    """
    animated = header.frame > 0
    still = tf.cond(animated, lambda: _first_frame(contents, header), lambda: contents)
    image = tf.io.decode_image(still, channels=0, expand_animations=False)
    return tf.cond(
        tf.shape(image)[-1] == 4,
        lambda: pixels.fit_tensor(tf.ensure_shape(image, [None, None, 4])),
        lambda: tf.ensure_shape(image, [None, None, 3]),
    )


def _first_frame(contents, header):
    data, frame = GraphBytes(contents), header.frame
    length = data.number(frame + 4, 4) - 16  # without position, size, duration and flags
    total = 4 + 18 + length  # with "WEBP" and the extended header
    octets = tf.bitwise.right_shift(total, [0, 8, 16, 24]) % 256
    size = tf.strings.reduce_join(tf.gather(tf.constant(_BYTES), octets))
    flags = tf.where(header.transparent == 1, b"\x10", b"\0")
    canvas = tf.strings.substr(contents, 24, 6)
    images = tf.strings.substr(contents, frame + 24, length)
    parts = [b"RIFF", size, b"WEBPVP8X\n\0\0\0", flags, b"\0\0\0", canvas, images]
    return tf.strings.join(parts)


def _upright(image, orientation):
    """Undoes the EXIF orientation: transposes from 5 on, then mirrors one axis or both."""

    def when(values, change, image):
        hit = tf.reduce_any(orientation == tf.constant(values))
        return tf.cond(hit, lambda: change(image), lambda: image)

    image = when([5, 6, 7, 8], lambda x: tf.transpose(x, [1, 0, 2]), image)
    image = when([2, 3, 6, 7], lambda x: tf.reverse(x, [1]), image)
    return when([3, 4, 7, 8], lambda x: tf.reverse(x, [0]), image)
