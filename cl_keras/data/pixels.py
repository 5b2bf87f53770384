"""From a file or an array to pixels: one rule for every source.

1. The EXIF orientation is applied; of an animation the first frame is taken; 16-bit grey is scaled
   to 8 bits; transparency is composited on white.
2. Colour becomes grey by ITU-R 601 luma (0.299 R + 0.587 G + 0.114 B); grey becomes colour by
   repetition.
3. With an `image_size`, the largest centred square is cut out and resized bilinearly, with
   antialiasing. (That is: the shorter side is resized to `image_size`, the rest is cropped.)
"""

import numpy as np
import tensorflow as tf
from PIL import Image

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP")

_ORIENTATION = 0x0112  # the EXIF tag
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def decode(file, *, image_size=None, channels=3):
    """Reads one image.

    Args:
        file: path or binary file object holding a JPEG, PNG, GIF, BMP or WebP.
        image_size: int, side of the square result in pixels. Default: None, the size of the file.
        channels: 1 or 3. Default: 3.

    Returns:
        uint8 array [H, W, channels].

    Raises:
        OSError, SyntaxError, ValueError: as Pillow has it, where the file cannot be decoded.
    """
    with Image.open(file, formats=FORMATS) as image:
        if image_size is not None:
            # NOTE: a JPEG much larger than asked for is decoded at 1/2, 1/4 or 1/8 of its size,
            # at least twice what is asked for: several times faster, for a barely visible change.
            image.draft(None, (2 * image_size, 2 * image_size))
        image.load()
        turn = _UPRIGHT.get(orientation(image))
        image = image.transpose(turn) if turn is not None else image
        return _to_array(_without_alpha(image), image_size, channels)


def fit(image, *, image_size=None, channels=3):
    """Brings one uint8 array [H, W, 1, 3 or 4] to the wanted size and channels by the same rule.

    Args:
        image: uint8 array [H, W, C] with C 1, 3, or 4 (RGBA).
        image_size: int, side of the square result in pixels. Default: None, H and W stay.
        channels: 1 or 3. Default: 3.

    Returns:
        uint8 array [H', W', channels].
    """
    picture = Image.fromarray(
        image[..., 0] if image.shape[-1] == 1 else np.ascontiguousarray(image)
    )
    return _to_array(_without_alpha(picture), image_size, channels)


def fit_tensor(image, *, image_size=None, channels=3):
    """The same rule as `fit` in TensorFlow operations, within one grey level.

    Args:
        image: uint8 tensor [H, W, C] with a static C of 1, 3, or 4 (RGBA).
        image_size: int. Default: None, H and W stay.
        channels: 1 or 3. Default: 3.

    Returns:
        uint8 tensor [H', W', channels].
    """
    if image.shape[-1] == 4:
        image = _on_white(image)
    if channels == 1 and image.shape[-1] == 3:
        luma = tf.reduce_sum(tf.cast(image, tf.int32) * [19595, 38470, 7471], -1, keepdims=True)
        image = tf.cast((luma + 32768) // 65536, tf.uint8)  # the rounding of Pillow
    if channels == 3 and image.shape[-1] == 1:
        image = tf.tile(image, [1, 1, 3])
    if image_size is None:
        return image
    height, width = tf.unstack(tf.shape(image)[:2])
    side = tf.minimum(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = image[top : top + side, left : left + side]
    resized = tf.image.resize(square, [image_size, image_size], "bilinear", antialias=True)
    return tf.cast(tf.clip_by_value(tf.round(resized), 0, 255), tf.uint8)


def orientation(image):
    """The EXIF orientation (1 to 8) of a Pillow image; 1 where it has none or its EXIF is broken.

    Args:
        image: an opened PIL image. Its pixels are not read.

    Returns:
        int.
    """
    try:
        if image.format == "PNG" and "exif" not in image.info and image.tile:
            return 1  # Pillow would decode the whole file to look for it
        return image.getexif().get(_ORIENTATION, 1)
    except Exception:  # broken metadata does not spoil a picture
        return 1


def _to_array(image, image_size, channels):
    mode = "L" if channels == 1 else "RGB"
    image = image if image.mode == mode else image.convert(mode)
    if image_size is not None and image.size != (image_size, image_size):
        width, height = image.size
        side = min(width, height)
        left, top = (width - side) // 2, (height - side) // 2
        image = image.crop((left, top, left + side, top + side))
        image = image.resize((image_size, image_size), Image.Resampling.BILINEAR)
    array = np.array(image)  # a copy: asarray is read-only
    return array[..., np.newaxis] if channels == 1 else array


def _without_alpha(image):
    if image.mode.startswith("I"):  # 16 bits a pixel, grey: Pillow's own conversion would clip
        return Image.fromarray((np.asarray(image, np.float64) / 257 + 0.5).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image


def _on_white(image):
    alpha = tf.cast(image[..., 3:], tf.float32) / 255
    colour = tf.cast(image[..., :3], tf.float32)
    return tf.cast(tf.round(colour * alpha + 255 * (1 - alpha)), tf.uint8)
