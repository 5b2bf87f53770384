"""What stands before a served encoder: decoding and resizing, as graph operations.

The rule is that of `cl_keras.data.pixels`, so that a served image is seen as a training image was.
"""

import tensorflow as tf

from cl_keras.data import pixels

HEADER_BYTES = 4096
"""Where the EXIF block of an image is looked for."""

# An EXIF block, and in its first directory the entry "orientation" (tag 0x112, one 16-bit number),
# in little-endian ("II") or big-endian ("MM") order. \C is any byte.
_ORIENTATION = (
    r"(?s)\C*?(?:Exif\x00\x00|eXIf)(?:"
    r"II\*\x00\C{0,250}?\x12\x01\x03\x00\x01\x00\x00\x00([\x01-\x08])\x00"
    r"|MM\x00\*\C{0,250}?\x01\x12\x00\x03\x00\x00\x00\x01\x00([\x01-\x08])"
    r")\C*"
)


def decode(contents, channels):
    """One encoded image as pixels.

    JPEG and PNG (turned as their EXIF orientation says; transparency is laid on white), BMP, GIF
    (the first frame), and WebP where the running TensorFlow reads it.

    Args:
        contents: scalar string.
        channels: 1 (grey) or 3 (RGB).

    Returns:
        uint8 `[H, W, channels]`.
    """
    return tf.case(
        [
            (tf.io.is_jpeg(contents), lambda: _decode_jpeg(contents, channels)),
            (_is_png(contents), lambda: _decode_png(contents, channels)),
        ],
        default=lambda: _decode_other(contents, channels),
    )


def fit(images, side):
    """Images at a size: the largest centred square, resized bilinearly with antialiasing.

    Images that have the size already are left untouched.

    Args:
        images: uint8 `[..., H, W, C]`.
        side: side of the result in pixels.

    Returns:
        uint8 `[..., side, side, C]`.
    """
    fits = tf.reduce_all(tf.shape(images)[-3:-1] == side)
    fitted = tf.cond(fits, lambda: images, lambda: _crop_and_resize(images, side))
    return tf.ensure_shape(fitted, [*images.shape[:-3], side, side, images.shape[-1]])


def _crop_and_resize(images, side):
    height, width = tf.unstack(tf.shape(images)[-3:-1])
    shorter = tf.minimum(height, width)
    top, left = (height - shorter) // 2, (width - shorter) // 2
    square = images[..., top : top + shorter, left : left + shorter, :]
    resized = tf.image.resize(square, [side, side], antialias=True)
    return tf.cast(tf.clip_by_value(tf.round(resized), 0.0, 255.0), tf.uint8)


def _decode_jpeg(contents, channels):
    # TensorFlow's own choice of transform is faster, and up to 5 levels off what Pillow decodes.
    rgb = tf.io.decode_jpeg(contents, channels=3, dct_method="INTEGER_ACCURATE")
    return pixels.fit_tensor(_upright(rgb, contents), channels=channels)


def _decode_png(contents, channels):
    # Where a PNG of fewer than 8 bits has no alpha, TensorFlow would make one that is near 0.
    rgb = tf.cond(
        _has_alpha(contents),
        lambda: pixels.fit_tensor(tf.io.decode_png(contents, channels=4)),
        lambda: tf.io.decode_png(contents, channels=3),
    )
    return pixels.fit_tensor(_upright(rgb, contents), channels=channels)


def _decode_other(contents, channels):
    image = tf.io.decode_image(contents, channels=0, expand_animations=False)
    # One channel is grey; the fourth of a BMP is padding.
    grey = tf.shape(image)[-1] == 1
    rgb = tf.cond(grey, lambda: tf.repeat(image, 3, axis=-1), lambda: image[..., :3])
    return pixels.fit_tensor(tf.ensure_shape(rgb, [None, None, 3]), channels=channels)


def _is_png(contents):
    return tf.strings.substr(contents, 0, 4) == b"\x89PNG"


def _has_alpha(contents):
    """Whether a PNG has an alpha channel (colour type 4 or 6) or a chunk of transparent colours."""
    colour_type = tf.strings.substr(contents, 25, 1)
    channel = tf.reduce_any(colour_type == tf.constant([b"\x04", b"\x06"]))
    return channel | tf.strings.regex_full_match(contents, r"(?s)\C*tRNS\C*")


def _upright(image, contents):
    """Undo the EXIF orientation: transposed from 5 on, then mirrored along one axis or both."""
    orientation = _orientation(contents)

    def when(values, change, image):
        hit = tf.reduce_any(orientation == tf.constant(values))
        return tf.cond(hit, lambda: change(image), lambda: image)

    image = when([5, 6, 7, 8], lambda x: tf.transpose(x, [1, 0, 2]), image)
    image = when([2, 3, 6, 7], lambda x: tf.reverse(x, [1]), image)
    return when([3, 4, 7, 8], lambda x: tf.reverse(x, [0]), image)


def _orientation(contents):
    """EXIF orientation of an encoded image, 1 (upright) to 8."""
    header = tf.strings.substr(contents, 0, HEADER_BYTES)
    found = tf.strings.regex_full_match(header, _ORIENTATION)
    value = tf.strings.regex_replace(header, _ORIENTATION, r"\1\2")
    value = tf.where(found, value, b"\x01")
    return tf.cast(tf.io.decode_raw(value, tf.uint8), tf.int32)[0]
