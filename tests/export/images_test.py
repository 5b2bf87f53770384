"""Decoding and resizing in the graph, against Pillow, for all forms of files."""

import io

import numpy as np
import pytest
import tensorflow as tf

from cl_keras.data import image_header, pixels
from cl_keras.export import images
from tests.export.image_forms import (
    FORMS,
    GRAY,
    JPEG,
    PALETTE,
    REFUSED,
    RGB,
    encode,
    picture,
    with_scans,
)

SIDE = 32
SCALAR = [tf.TensorSpec([], tf.string)]


def served(channels, side=None):
    blank = (
        tf.zeros([800, 800, channels], tf.uint8),
        tf.constant([0, 0, 0]),
        tf.constant(images.UNDECODABLE),
    )

    @tf.function(input_signature=SCALAR)
    def decode(contents):
        def of_one_size(one):
            image, error = images.decoder(channels, side)(one)
            padded = tf.pad(
                image, [[0, 800 - tf.shape(image)[0]], [0, 800 - tf.shape(image)[1]], [0, 0]]
            )
            return padded, tf.shape(image), error

        results = images.attempt_each(of_one_size, contents[tf.newaxis], blank)
        image, shape, error = [result[0] for result in results]
        return image[: shape[0], : shape[1]], error

    return decode


@pytest.fixture(scope="module")
def decoders():
    """Decoders by (channels, side): for both kinds of encoder, with and without a size."""
    return {(3, None): served(3), (1, SIDE): served(1, SIDE)}


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize("name", FORMS)
def test_a_served_image_is_the_training_image(name, decoders):
    """To the last bit, in all supported forms."""
    contents = FORMS[name]
    for (channels, side), decode in decoders.items():
        image, error = decode(tf.constant(contents))
        assert error == b""
        expected = pixels.decode(io.BytesIO(contents), channels=channels, image_size=side)
        np.testing.assert_array_equal(image, expected)
    header = image_header.read_header(contents)
    assert header == tuple(int(part) for part in image_header.read_header_in_graph(contents))


TURNED = [name for name in FORMS if "EXIF" in name and name.rpartition(" ")[2] in "5678"]


@pytest.mark.parametrize("name", [*TURNED, "PNG EXIF behind the pixels", "WebP animated, EXIF"])
def test_the_orientation_is_followed(name):
    assert pixels.decode(io.BytesIO(FORMS[name])).shape[:2] == RGB.size


@pytest.mark.parametrize(
    "name", ["JPEG EXIF tag in a text", "JPEG EXIF in a comment", "JPEG XMP orientation", "PNG"]
)
def test_nothing_else_turns_an_image(name):
    assert pixels.decode(io.BytesIO(FORMS[name])).shape[:2] == RGB.size[::-1]


def test_transparency_is_laid_on_white():
    clear = picture()
    clear.putalpha(0)
    for form in ("PNG", "WEBP"):
        assert pixels.decode(io.BytesIO(encode(clear, form))).min() == 255
    gif = pixels.decode(io.BytesIO(FORMS["GIF transparent"]))
    index = np.asarray(PALETTE)
    assert (gif[index == index[3, 3]] == 255).all() and (gif[index != index[3, 3]] < 255).any()


@pytest.mark.parametrize("name", REFUSED)
def test_both_refuse_the_same_files_by_name(name, decoders):
    with pytest.raises(pixels.UnsupportedImage) as refusal:
        pixels.decode(io.BytesIO(REFUSED[name]))
    for decode in decoders.values():
        assert decode(tf.constant(REFUSED[name]))[1].numpy().decode() == str(refusal.value)


NAMED = {
    "HEIC": "HEIC",
    "AVIF": "AVIF",
    "BigTIFF": "BigTIFF",
    "JPEG of 12 bits": "12 bits",
    "WebP with a small frame": "animated WebP",
    "a huge PNG": "too many pixels; the maximum is 25,000,000",
    "a JPEG of many scans": "more than 100 scans",
    "nothing": "empty file",
}


@pytest.mark.parametrize("name", NAMED)
def test_the_refusal_says_what_it_is(name):
    with pytest.raises(pixels.UnsupportedImage, match=NAMED[name]):
        pixels.decode(io.BytesIO(REFUSED[name]))


def sized(contents, marker, height, width):
    """A JPEG whose header announces another size; no pixel of it is decoded."""
    at = contents.index(marker) + 5
    size = height.to_bytes(2, "big") + width.to_bytes(2, "big")
    return contents[:at] + size + contents[at + 4 :]


START_OF_SCAN = JPEG.index(b"\xff\xda")

JPEGS = {  # with the marker of their frame, and the largest size
    "color": (JPEG, b"\xff\xc0", (5000, 10_000)),
    "gray": (encode(GRAY, "JPEG"), b"\xff\xc0", (5000, 10_000)),
    "progressive": (encode(RGB, "JPEG", progressive=True), b"\xff\xc2", (5000, 5000)),
    "a scan for each component": (
        JPEG[: START_OF_SCAN + 4] + b"\1" + JPEG[START_OF_SCAN + 5 :],
        b"\xff\xc0",
        (5000, 5000),
    ),
}


@pytest.mark.parametrize("contents, marker, fits", JPEGS.values(), ids=JPEGS)
def test_the_largest_jpeg_depends_on_its_scans(contents, marker, fits):
    height, width = fits
    for rows, problem in ((height, image_header.FINE), (height + 1, image_header.TOO_LARGE)):
        file = sized(contents, marker, rows, width)
        assert image_header.read_header(file).problem == problem
        in_graph = image_header.Header(*image_header.read_header_in_graph(tf.constant(file)))
        assert in_graph.problem.numpy() == problem


def test_as_many_scans_as_are_allowed_are_decoded(decoders):
    contents = with_scans(image_header.MAX_SCANS)
    for (channels, side), decode in decoders.items():
        image, problem = decode(tf.constant(contents))
        assert problem == b""
        expected = pixels.decode(io.BytesIO(contents), image_size=side, channels=channels)
        np.testing.assert_array_equal(image, expected)


def test_a_tiff_can_be_trained_on_but_is_refused_by_name_in_serving(decoders):
    contents = encode(RGB, "TIFF")
    np.testing.assert_array_equal(pixels.decode(io.BytesIO(contents)), np.asarray(RGB))
    assert b"TIFF" in decoders[3, None](tf.constant(contents))[1].numpy()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_tiff_is_turned_once(orientation):
    exif = {274: orientation}
    turned = pixels.decode(io.BytesIO(encode(RGB, "TIFF", tiffinfo=exif)))
    expected = pixels.decode(io.BytesIO(FORMS[f"WebP EXIF {orientation}"]))
    np.testing.assert_array_equal(turned, expected)


def test_floating_point_tiffs_are_refused_by_name():
    with pytest.raises(pixels.UnsupportedImage, match="TIFF with pixels of kind 'F'"):
        pixels.decode(io.BytesIO(encode(GRAY.convert("F"), "TIFF")))


@pytest.mark.parametrize("form", ["JPEG", "PNG", "GIF", "BMP", "WebP"])
def test_both_refuse_a_truncated_file(form, decoders):
    contents = FORMS[form]
    for length in (len(contents) // 3, len(contents) * 2 // 3):
        with pytest.raises((OSError, SyntaxError, ValueError)):
            pixels.decode(io.BytesIO(contents[:length]))
        for decode in decoders.values():
            assert decode(tf.constant(contents[:length]))[1] != b""


def test_one_image_is_decoded_or_raises():
    image = images.decode(tf.constant(FORMS["BMP palette"]), 3)
    np.testing.assert_array_equal(image, pixels.decode(io.BytesIO(FORMS["BMP palette"])))
    for bad, message in ((REFUSED["HEIC"], "HEIC"), (JPEG[:600], "JPEG")):
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            images.decode(tf.constant(bad), 3)


def test_flipped_bytes_never_fail_a_request(decoders):
    """With damage anywhere, the row is right or has an error, and others are not affected."""
    draws = np.random.default_rng(0)
    for name in (
        "JPEG EXIF 6",
        "PNG RGBA",
        "GIF transparent",
        "BMP palette",
        "WebP animated, EXIF",
    ):
        for _ in range(12):
            damaged = bytearray(FORMS[name])
            for at in draws.integers(0, len(damaged), 3):
                damaged[at] = draws.integers(0, 256)
            header = image_header.read_header(bytes(damaged))
            for decode in decoders.values():
                _, error = decode(tf.constant(bytes(damaged)))
                problem = image_header.PROBLEMS[header.problem].encode()
                assert (
                    error == problem
                    if header.problem
                    else error in (b"", images.UNDECODABLE.encode())
                )


@pytest.mark.parametrize("height, width", [(40, 40), (61, 40), (20, 33), (7, 5), (16, 30), (1, 9)])
@pytest.mark.parametrize("side", [1, 16, 23])
def test_resizing_is_that_of_pillow(height, width, side):
    noise = np.random.default_rng(1).integers(0, 256, [2, height, width, 3], dtype=np.uint8)
    fitted = pixels.square(tf.constant(noise), side).numpy()
    for image, row in zip(noise, fitted, strict=True):
        np.testing.assert_array_equal(row, pixels.fit(image, image_size=side))


def test_the_right_size_stays_untouched():
    noise = np.random.default_rng(1).integers(0, 256, [2, 16, 16, 1], dtype=np.uint8)
    np.testing.assert_array_equal(pixels.square(tf.constant(noise), 16), noise)


def test_every_loop_over_a_file_is_bounded():
    """A million empty segments, chunks and blocks: only some thousand are read."""
    endless = {
        "JPEG": JPEG[:2] + b"\xff\xd0" * 500_000,
        "PNG": FORMS["PNG"][:33] + b"\0\0\0\0abcd\0\0\0\0" * 200_000,
        "GIF": FORMS["GIF"][:13] + b"\x21\x01\x01x" * 300_000,
        "WebP": FORMS["WebP lossless"][:20] + b"abcd\0\0\0\0" * 200_000,
    }
    for contents in endless.values():
        data = Counted(contents)
        image_header.parse(data)
        assert data.reads < 30 * image_header.MAX_STEPS


class Counted(image_header.FileBytes):
    reads = 0

    def _read(self, at, length):
        self.reads += 1
        return super()._read(at, length)
