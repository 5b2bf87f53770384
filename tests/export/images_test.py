"""Decoding and fitting in the graph, against Pillow."""

import io
import struct
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from cl_keras.data import pixels
from cl_keras.export import images

ORIENTATION = 0x0112


def picture(height=13, width=21):
    small = np.random.default_rng(0).integers(0, 256, [4, 5, 3], dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def encode(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png_of_bits(values, bits):
    """A grey PNG of 1, 2, 4 or 8 bits, which Pillow reads and does not write."""

    def chunk(name, data):
        crc = struct.pack(">I", zlib.crc32(name + data))
        return struct.pack(">I", len(data)) + name + data + crc

    height, width = values.shape
    digits = ["".join(f"{value:0{bits}b}" for value in row) for row in values]
    rows = [int(row.ljust(-(-len(row) // 8) * 8, "0"), 2) for row in digits]
    row_bytes = -(-width * bits // 8)
    data = b"".join(b"\0" + row.to_bytes(row_bytes, "big") for row in rows)
    header = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


@tf.function(input_signature=[tf.TensorSpec([], tf.string)])
def decode_rgb(contents):
    return images.decode(contents, 3)


@tf.function(input_signature=[tf.TensorSpec([], tf.string)])
def decode_grey(contents):
    return images.decode(contents, 1)


def assert_decodes_as_pillow(contents, tolerance=0):
    for decode, channels in ((decode_rgb, 3), (decode_grey, 1)):
        expected = pixels.decode(io.BytesIO(contents), channels=channels).astype(int)
        served = decode(tf.constant(contents)).numpy().astype(int)
        np.testing.assert_allclose(served, expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "GIF"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_formats(kind, mode):
    assert_decodes_as_pillow(encode(picture().convert(mode), kind))


def test_palettes_and_one_bit():
    for kind, mode in (("PNG", "P"), ("GIF", "P"), ("PNG", "1")):
        assert_decodes_as_pillow(encode(picture().convert(mode), kind))


def test_progressive_and_subsampled_jpegs():
    assert_decodes_as_pillow(encode(picture(), "JPEG", progressive=True, subsampling=2))
    assert_decodes_as_pillow(encode(picture(), "JPEG", quality=30))


def test_sixteen_bits_to_a_grey_pixel():
    values = np.linspace(0, 65535, 13 * 21).reshape(13, 21).astype(np.uint16)
    assert_decodes_as_pillow(encode(Image.fromarray(values), "PNG"), tolerance=1)


def test_transparency_is_laid_on_white():
    clear = picture().convert("RGBA")
    alpha = (np.arange(273) % 256).astype(np.uint8).reshape(13, 21)
    clear.putalpha(Image.fromarray(alpha))
    assert_decodes_as_pillow(encode(clear, "PNG"), tolerance=1)
    clear.putalpha(0)
    assert decode_rgb(tf.constant(encode(clear, "PNG"))).numpy().min() == 255


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("colours", ["grey", "palette", "palette with a transparent colour"])
def test_pngs_of_few_bits(bits, colours):
    values = np.arange(273).reshape(13, 21) * 7 % 2**bits
    image = Image.fromarray(values.astype(np.uint8))
    if colours == "grey":
        assert_decodes_as_pillow(png_of_bits(values, bits))
        return
    image.putpalette(np.random.default_rng(0).integers(0, 256, 3 * 2**bits).tolist())
    options = {"transparency": 1} if "transparent" in colours else {}
    contents = encode(image, "PNG", bits=bits, **options)
    assert contents[24] == bits
    assert_decodes_as_pillow(contents)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(kind, orientation):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    exif[0x010F] = "A maker"  # tags before and after
    exif[0x0132] = "2020:01:01 00:00:00"
    contents = encode(picture(), kind, exif=exif)
    turned = decode_rgb(tf.constant(contents)).shape[:2] == (21, 13)
    assert turned == (orientation >= 5)
    assert_decodes_as_pillow(contents)


@pytest.mark.parametrize("orientation", [3, 6])
def test_exif_in_big_endian_order(orientation):
    entry = b"\x01\x12\x00\x03\x00\x00\x00\x01\x00" + bytes([orientation]) + b"\x00\x00"
    block = b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x01" + entry + b"\x00\x00\x00\x00"
    contents = encode(picture(), "JPEG", exif=block)
    assert_decodes_as_pillow(contents)
    upright = decode_rgb(tf.constant(encode(picture(), "JPEG"))).numpy()
    turned = decode_rgb(tf.constant(contents)).numpy()
    expected = np.rot90(upright, {3: 2, 6: -1}[orientation])
    np.testing.assert_array_equal(turned, expected)


def test_a_text_about_exif_turns_nothing():
    contents = encode(picture(), "JPEG", comment=b"Exif\x00\x00 and II*\x00 are mentioned")
    assert_decodes_as_pillow(contents)


def test_no_image_is_an_error():
    with pytest.raises(tf.errors.InvalidArgumentError):
        decode_rgb(tf.constant(b"not an image at all"))


@pytest.mark.parametrize("height, width", [(40, 40), (61, 40), (20, 33), (7, 5), (16, 30)])
def test_fit_is_the_rule_of_the_data_layer(height, width):
    batch = np.stack([np.asarray(picture(height, width)), 255 - np.asarray(picture(height, width))])
    fitted = images.fit(tf.constant(batch), 16).numpy()
    for image, row in zip(batch, fitted, strict=True):
        np.testing.assert_array_equal(row, pixels.fit_tensor(tf.constant(image), image_size=16))
        pillow = pixels.fit(image, image_size=16).astype(int)
        np.testing.assert_allclose(row.astype(int), pillow, rtol=0, atol=1)


def test_fit_leaves_the_right_size_untouched():
    noise = np.random.default_rng(1).integers(0, 256, [2, 16, 16, 1], dtype=np.uint8)
    np.testing.assert_array_equal(images.fit(tf.constant(noise), 16), noise)
